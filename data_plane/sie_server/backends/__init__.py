"""The built-in backends: each a module with `load(spec, device)`, found by name in `names`.

`transformer` stands on `encoder` (packed and padded forward), `folder_layout` (the files that say
how vectors are made, and the profile's word over them), the steps in `sie_server.vectors`, and
`probe`. No module here is imported before it is needed,
so a process without onnxruntime or spaCy runs the others.
"""
