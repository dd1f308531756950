"""What the built-in model learns from: drawings out of public packages, composed into pictures with captions.

`build.build` fetches and renders the drawings into a `bank.Bank`, `composition.Composer` makes pictures from it, and
`captions.caption` words them. Nothing here imports torch.
"""
