"""What has been written about what the checks look for, beside the guide."""

from __future__ import annotations

_PRECHELT = "L. Prechelt, Early Stopping - But When? (1998)"
_MANN_KENDALL = "H. B. Mann, Nonparametric Tests Against Trend (1945)"
_GOYAL = "P. Goyal et al., Accurate, Large Minibatch SGD (2017): warm-up"
_KARPATHY = "A. Karpathy, A Recipe for Training Neural Networks (2019)"
_PASCANU = "R. Pascanu et al., On the difficulty of training recurrent neural networks (2013)"
_GLOROT = "X. Glorot and Y. Bengio, Understanding the difficulty of training deep feedforward networks (2010)"
_VASWANI = "A. Vaswani et al., Attention Is All You Need (2017)"
_STRUBELL = "E. Strubell et al., Energy and Policy Considerations for Deep Learning in NLP (2019)"

SOURCES: dict[str, tuple[str, ...]] = {
    "loss-divergence": (_MANN_KENDALL,),
    "overfitting": (_PRECHELT, _MANN_KENDALL),
    "memory-growth": (_MANN_KENDALL,),
    "learning-rate-too-low": (_MANN_KENDALL,),
    "learning-rate-too-high": (_GOYAL,),
    "early-stop-opportunity": (_PRECHELT,),
    "diminishing-returns": (_PRECHELT,),
    "first-epoch-blow-up": (_GOYAL,),
    "initial-loss": (_KARPATHY + ": verify the loss at init",),
    "not-learning": (_KARPATHY,),
    "loss-below-minimum": ("cross-entropy and squared errors cannot be negative, by definition",),
    "gradient-spike": (_PASCANU, "A. Chowdhery et al., PaLM (2022): loss spikes"),
    "inf-gradients": ("P. Micikevicius et al., Mixed Precision Training (2018): loss scaling",),
    "vanishing-gradients": (_GLOROT, _PASCANU),
    "dead-neurons": ("L. Lu et al., Dying ReLU and Initialization (2019)",),
    "activation-collapse": (_GLOROT,),
    "unintended-freeze": ("PyTorch documentation, Autograd mechanics: setting requires_grad",),
    "attention-head-count": (_VASWANI,),
    "position-encoding": (_VASWANI,),
    "layer-norm-placement": ("R. Xiong et al., On Layer Normalization in the Transformer Architecture (2020)",),
    "sequence-length": (_PASCANU,),
    "num-layers": (_PASCANU,),
    "high-carbon-intensity": (_STRUBELL,),
    "wasted-carbon": (_STRUBELL,),
}
"""By id of the check."""
