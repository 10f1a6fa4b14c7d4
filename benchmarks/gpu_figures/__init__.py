"""The parts of `gpu.py`: shapes of models, contenders on one device, and the whole cluster."""
