"""The growth study: structures compared by accuracy and binary operations (EBConv section 4.3).

The paper grows its network by hand: blocks moved between stages, depth against width, a 1x1 after
each block, more groups in the late stages. It screens with stage I networks (real weights, binary
activations); so does this study. `structures` says what a name in params.yaml stands for, `train`
trains one, `collect` sets them side by side.
"""
