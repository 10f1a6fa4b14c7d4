"""The built-in backends: each a module with `load(spec, device)`, found by name in `names`.

`encode`, `score`, `extraction` and `images` hold them by what they answer, `echo` beside. An
encoder's way goes through `model_files` and `architectures`, `forward`, then `heads`. No module
here is imported before it is needed, so a process without onnxruntime or spaCy runs the others.
"""
