"""The built-in backends: each a module with `load(spec, device)`, found by name in `names`.

`transformer` stands on `encoder` (packed and padded forward), on the steps in `sie_server.vectors`,
and on `probe`. `folder_layout` reads the files that say how vectors are made, and the profile's
word over them. No module here is imported before it is needed, so a process without onnxruntime or
spaCy runs the others.
"""
