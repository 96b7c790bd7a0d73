"""Reference architectures in plain PyTorch, small, each healthy; with an example input."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional


def images(channels=3, side=32):
    return torch.rand(2, channels, side, side)


def tokens(length=16, vocabulary=100):
    return torch.arange(2 * length).view(2, length) % vocabulary


class Residual(nn.Module):
    """A basic block of ResNet."""

    def __init__(self, into, out, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(into, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out)
        self.conv2, self.bn2 = nn.Conv2d(out, out, 3, 1, 1, bias=False), nn.BatchNorm2d(out)
        shrinks = stride != 1 or into != out
        self.downsample = nn.Sequential(nn.Conv2d(into, out, 1, stride), nn.BatchNorm2d(out)) if shrinks else None

    def forward(self, x):
        y = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
        return functional.relu(y + (self.downsample(x) if self.downsample else x))


class ResNet(nn.Module):
    def __init__(self, widths=(16, 32, 64, 128)):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, widths[0], 3, padding=1, bias=False), nn.BatchNorm2d(widths[0])
        before = (widths[0], *widths[:-1])
        self.layers = nn.Sequential(
            *(
                nn.Sequential(Residual(into, out, 1 if into == out else 2), Residual(out, out, 1))
                for into, out in zip(before, widths, strict=True)
            )
        )
        self.fc = nn.Linear(widths[-1], 10)

    def forward(self, x):
        x = self.layers(functional.relu(self.bn1(self.conv1(x))))
        return self.fc(functional.adaptive_avg_pool2d(x, 1).flatten(1))


def vgg():
    parts, into = [], 3
    for out, count in ((16, 2), (32, 2), (64, 3), (128, 3)):
        for _ in range(count):
            parts += [nn.Conv2d(into, out, 3, padding=1), nn.ReLU(inplace=True)]
            into = out
        parts.append(nn.MaxPool2d(2))
    head = [nn.Flatten(), nn.Linear(128 * 4, 256), nn.ReLU(), nn.Dropout(), nn.Linear(256, 10)]
    return nn.Sequential(*parts, *head)


class Vit(nn.Module):
    def __init__(self, width=96, depth=4):
        super().__init__()
        self.patches, self.token = nn.Conv2d(3, width, 8, 8), nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(torch.randn(1, 17, width) * 0.02)
        layer = nn.TransformerEncoderLayer(width, 3, 4 * width, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, depth, norm=nn.LayerNorm(width), enable_nested_tensor=False)
        self.head = nn.Linear(width, 10)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.positions
        return self.head(self.encoder(x)[:, 0])


class SelfAttention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.num_heads, self.embed_dim = heads, width
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x):
        batch, length, width = x.shape
        q, k, v = self.qkv(x).view(batch, length, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        x = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.proj(x.transpose(1, 2).reshape(batch, length, width))


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.ln_1, self.attn = nn.LayerNorm(width), SelfAttention(width, heads)
        self.ln_2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x):
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class Gpt(nn.Module):
    def __init__(self, width=96, depth=8, vocabulary=100):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(vocabulary, width), nn.Embedding(64, width)
        self.h = nn.ModuleList(Block(width, 3) for _ in range(depth))
        self.ln_f, self.lm_head = nn.LayerNorm(width), nn.Linear(width, vocabulary, bias=False)
        self.lm_head.weight = self.wte.weight

    def forward(self, x):
        x = self.wte(x) + self.wpe(torch.arange(x.shape[1]))
        for block in self.h:
            x = block(x)
        return self.lm_head(self.ln_f(x))


class Bert(nn.Module):
    """Normalizes after attention, as the original does."""

    def __init__(self, width=96, depth=6, vocabulary=200):
        super().__init__()
        self.words, self.positions = nn.Embedding(vocabulary, width), nn.Embedding(64, width)
        self.types, self.norm = nn.Embedding(2, width), nn.LayerNorm(width)
        layer = nn.TransformerEncoderLayer(width, 3, 4 * width, batch_first=True, activation="gelu")
        self.encoder = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        self.head = nn.Linear(width, vocabulary)

    def forward(self, x):
        where = torch.arange(x.shape[1])
        return self.head(self.encoder(self.norm(self.words(x) + self.positions(where) + self.types(x * 0))))


class Translator(nn.Module):
    def __init__(self, width=64, vocabulary=100):
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.body = nn.Transformer(width, 2, 2, 2, 128, batch_first=True, norm_first=True)
        self.head = nn.Linear(width, vocabulary)

    def forward(self, x):
        x = self.tokens(x)
        return self.head(self.body(x, x))


class Lstm(nn.Module):
    def __init__(self, vocabulary=100):
        super().__init__()
        self.tokens, self.lstm = nn.Embedding(vocabulary, 32), nn.LSTM(32, 64, 2, batch_first=True, dropout=0.1)
        self.head = nn.Linear(64, vocabulary)

    def forward(self, x):
        return self.head(self.lstm(self.tokens(x))[0])


class Tagger(nn.Module):
    """Reads both ways, and may: it has all of the sentence."""

    def __init__(self):
        super().__init__()
        self.tokens, self.gru = nn.Embedding(100, 32), nn.GRU(32, 48, batch_first=True, bidirectional=True)
        self.head = nn.Linear(96, 9)

    def forward(self, x):
        return self.head(self.gru(self.tokens(x))[0])


def double(into, out):
    return nn.Sequential(
        nn.Conv2d(into, out, 3, padding=1), nn.BatchNorm2d(out), nn.ReLU(),
        nn.Conv2d(out, out, 3, padding=1), nn.BatchNorm2d(out), nn.ReLU(),
    )  # fmt: skip


class Unet(nn.Module):
    def __init__(self):
        super().__init__()
        self.down1, self.down2, self.middle = double(3, 16), double(16, 32), double(32, 64)
        self.up2, self.join2 = nn.ConvTranspose2d(64, 32, 2, 2), double(64, 32)
        self.up1, self.join1 = nn.ConvTranspose2d(32, 16, 2, 2), double(32, 16)
        self.out = nn.Conv2d(16, 2, 1)

    def forward(self, x):
        first = self.down1(x)
        second = self.down2(functional.max_pool2d(first, 2))
        x = self.up2(self.middle(functional.max_pool2d(second, 2)))
        x = self.up1(self.join2(torch.cat([x, second], 1)))
        return self.out(self.join1(torch.cat([x, first], 1)))


class Mixing(nn.Module):
    def __init__(self, places, width):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.places = nn.Sequential(nn.Linear(places, 64), nn.GELU(), nn.Linear(64, places))
        self.channels = nn.Sequential(nn.Linear(width, 128), nn.GELU(), nn.Linear(128, width))

    def forward(self, x):
        x = x + self.places(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        return x + self.channels(self.norm2(x))


class Mixer(nn.Module):
    def __init__(self, width=64):
        super().__init__()
        self.patches = nn.Conv2d(3, width, 8, 8)
        self.blocks, self.head = nn.Sequential(*(Mixing(16, width) for _ in range(4))), nn.Linear(width, 10)

    def forward(self, x):
        return self.head(self.blocks(self.patches(x).flatten(2).transpose(1, 2)).mean(1))


def dense_autoencoder():
    sizes = (784, 128, 16, 128, 784)
    parts = [part for a, b in zip(sizes, sizes[1:], strict=False) for part in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*parts[:-1], nn.Sigmoid())


def conv_autoencoder():
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU(), nn.Conv2d(32, 8, 3, 1, 1),
        nn.ConvTranspose2d(8, 32, 2, 2), nn.ReLU(), nn.ConvTranspose2d(32, 1, 2, 2), nn.Sigmoid(),
    )  # fmt: skip


class Gan(nn.Module):
    """Generator and discriminator (DCGAN) in one module, as some register them."""

    def __init__(self, code=32):
        super().__init__()
        self.generator = nn.Sequential(
            nn.ConvTranspose2d(code, 64, 4, 1, 0, bias=False), nn.BatchNorm2d(64), nn.ReLU(),
            nn.ConvTranspose2d(64, 32, 4, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU(),
            nn.ConvTranspose2d(32, 1, 4, 2, 1), nn.Tanh(),
        )  # fmt: skip
        self.discriminator = nn.Sequential(
            nn.Conv2d(1, 32, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(32, 64, 4, 2, 1, bias=False), nn.BatchNorm2d(64),
            nn.LeakyReLU(0.2), nn.Conv2d(64, 1, 4), nn.Flatten(),
        )  # fmt: skip

    def forward(self, code):
        return self.discriminator(self.generator(code))


class ConvTransformer(nn.Module):
    """A convolutional stem and a transformer on what it leaves."""

    def __init__(self, width=64):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 32, 3, 2, 1), nn.ReLU(), nn.Conv2d(32, width, 3, 2, 1))
        self.body = nn.Sequential(*(Block(width, 2) for _ in range(4)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 10)

    def forward(self, x):
        return self.head(self.norm(self.body(self.stem(x).flatten(2).transpose(1, 2))).mean(1))


class ConvLstm(nn.Module):
    """Reads frames of an image one after the other (CRNN)."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU())
        self.lstm = nn.LSTM(32 * 8, 64, 2, batch_first=True, bidirectional=True)
        self.head = nn.Linear(128, 30)

    def forward(self, x):
        x = self.stem(x)
        return self.head(self.lstm(x.permute(0, 3, 1, 2).flatten(2))[0])


def mlp():
    return nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Dropout(0.1), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))


def separable(into, out, stride):
    return nn.Sequential(
        nn.Conv2d(into, into, 3, stride, 1, groups=into), nn.BatchNorm2d(into), nn.ReLU6(), nn.Conv2d(into, out, 1)
    )


def mobile():
    parts = [separable(a, b, 2 if b > a else 1) for a, b in ((16, 16), (16, 32), (32, 32), (32, 64), (64, 64))]
    return nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), *parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


REFERENCES = {
    "ResNet": ("cnn", ResNet, images),
    "VGG": ("cnn", vgg, images),
    "MobileNet": ("cnn", mobile, images),
    "U-Net": ("cnn", Unet, images),
    "convolutional autoencoder": ("cnn", conv_autoencoder, lambda: images(1, 28)),
    "GAN pair": ("cnn", Gan, lambda: torch.randn(2, 32, 1, 1)),
    "ViT": ("transformer", Vit, images),
    "GPT": ("transformer", Gpt, tokens),
    "BERT": ("transformer", Bert, tokens),
    "translator": ("transformer", Translator, tokens),
    "CNN and transformer": ("transformer", ConvTransformer, images),
    "LSTM stack": ("rnn", Lstm, tokens),
    "GRU tagger": ("rnn", Tagger, tokens),
    "CNN and LSTM": ("rnn", ConvLstm, lambda: images(1, 32)),
    "MLP-Mixer": ("generic", Mixer, images),
    "autoencoder": ("generic", dense_autoencoder, lambda: torch.rand(2, 784)),
    "MLP": ("generic", mlp, lambda: torch.rand(2, 20)),
}
"""By name: the kind it is, how to make it, an input for it."""
