"""FTBNN's ablation: each variant of its network with several seeds (docs/ftbnn.md).

What a variant is, `ebcore.methods.ftbnn` says. Here `train` trains one, `runs` are the results,
`summary` has mean and standard deviation, `collect` sets the variants side by side.
"""
