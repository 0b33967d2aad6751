"""Small classifiers, right ones and wrong ones, and an objective for them."""

import numpy as np
import torch
from lmwb.core.training.objective import Batch, Tally
from torch import nn
from torch.nn import functional as F

WIDTH, WORDS, CLASSES = 16, 40, 3


class Rows:
    """Rows of random tokens, 0 for padding, and a class each."""

    def __init__(self, lengths=(3, 9, 4, 7, 5, 8), classes=CLASSES):
        generator = torch.Generator().manual_seed(5)
        self._rows = [torch.randint(1, WORDS, (length,), generator=generator) for length in lengths]
        self._classes = classes
        self.lengths = np.array(lengths)
        self.fingerprint = "rows"

    def __len__(self):
        return len(self._rows)

    def collate(self, rows, seed):
        ids = nn.utils.rnn.pad_sequence([self._rows[row] for row in rows], batch_first=True)
        return Batch({"ids": ids}, torch.tensor([row % self._classes for row in rows]), len(rows), int((ids > 0).sum()))

    def forward(self, model, batch):
        return model(**batch.inputs)

    def loss_sum(self, outputs, batch):
        return F.cross_entropy(outputs, batch.targets, reduction="sum")

    def tally(self):
        return Tally()


class Fused(nn.Module):
    """torch's own encoder, which in evaluation reads the weights of its parts and never calls them."""

    def __init__(self, masked=True, dropout=0.3, layers=2):
        super().__init__()
        torch.manual_seed(1)
        self.embeddings = nn.Embedding(WORDS, WIDTH, padding_idx=0)
        block = nn.TransformerEncoderLayer(WIDTH, 2, 24, dropout=dropout, batch_first=True)
        self.encoder = nn.TransformerEncoder(block, layers)
        self.classifier = nn.Linear(WIDTH, CLASSES)
        for weight in self.parameters():  # its layers begin as copies of one another, with biases of zero
            nn.init.normal_(weight, std=0.3)
        self._masked = masked

    def forward(self, ids):
        padding = ids == 0
        states = self.encoder(self.embeddings(ids), src_key_padding_mask=padding if self._masked else None)
        states = states.masked_fill(padding[:, :, None], 0.0)
        return self.classifier(states.sum(1) / (~padding).sum(1, keepdim=True))
