"""From a recipe's methods to a model that is ready to be trained: what is frozen, what is trained, what is added."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from torch import nn

from ..errors import ValueInRecipeError
from ..recipe.schema import AnyMethod
from ..recipe.schema.method import Adaptation, Adapters, Layers, Lora
from ..training.optimizers import Group, trainable
from . import adapters, lora
from .names import find, find_layers
from .parts import covers, head_weights, owner_of

Tell = Callable[[str], None]


def adapt(model: nn.Module, methods: Sequence[AnyMethod], tell: Tell) -> Sequence[Group]:
    """Rewrite the model in place as the methods say, freeze the rest; returns what is trained, at which rates.

    Without a method that adapts it, all of it is trained but what is frozen already, such as word vectors that shall
    stay as they are. New weights are drawn from torch's present seed.

    Raises:
        ValueInRecipeError: a target or pattern matches nothing, or a layer is meant twice.
    """
    adapting = {number: method for number, method in enumerate(methods) if isinstance(method, Adaptation)}
    if not adapting:
        _tell_what_is_trained(model, tell)
        return trainable(model)
    return _Adaptation(model, adapting, tell).groups()


class _Adaptation:
    def __init__(self, model: nn.Module, methods: Mapping[int, AnyMethod], tell: Tell):
        """By their numbers in the recipe, the methods."""
        self._model = model
        self._methods = methods
        self._tell = tell
        self._modules = dict(model.named_modules())
        self._weights = dict(model.named_parameters())
        self._frozen = {name for name, weight in self._weights.items() if not weight.requires_grad}
        self._taken: dict[str, int] = {}  # adapted layers, and the number of the method that did it

    def groups(self) -> Sequence[Group]:
        whole = self._trained_whole()
        for weight in self._weights.values():
            weight.requires_grad_(False)
        for number, method in self._methods.items():
            if isinstance(method, Lora):
                for name in self._targets(number, method, whole):
                    lora.add_update(self._modules[name], method.rank, method.alpha / method.rank, method.dropout)
            elif isinstance(method, Adapters):
                for name in self._targets(number, method, whole):
                    adapters.add_bottleneck(self._modules[name], method.size)
                adapters.spare_nested_tensors(self._model)
        for name in whole:
            self._weights[name].requires_grad_(True)
        _tell_what_is_trained(self._model, self._tell)
        return self._by_rate()

    # -- trained whole ----------------------------------------------------------------------------

    def _trained_whole(self) -> set[str]:
        """The names of the base's weights that are trained as they are."""
        whole: set[str] = set()
        head = head_weights(self._model)
        for number, method in self._methods.items():
            if getattr(method, "head", True):
                if not head and method.kind == "linear-probe":
                    raise ValueInRecipeError(
                        f"method.{number}.kind", "the model has no head of its own to train; choose layers instead"
                    )
                if not head and not any(
                    getattr(each, "head", False) for earlier, each in self._methods.items() if earlier < number
                ):
                    self._tell(f"{method.kind}: the model has no head of its own, so 'head' means nothing here")
                whole |= set(head)
            for key, pattern in _patterns(number, method):
                whole |= self._weights_in(key, pattern)
        return whole

    def _weights_in(self, key: str, pattern: str) -> set[str]:
        """The weights in the modules that a pattern means, but for those that shall stay as they are."""
        found = find(key, pattern, self._modules)
        weights = {name for name in self._weights if any(covers(module, name) for module in found)}
        if not weights:
            raise ValueInRecipeError(key, f"'{found[0]}' has no weights to train")
        if weights <= self._frozen:
            raise ValueInRecipeError(key, f"the weights of '{found[0]}' are frozen by the model's own settings")
        return weights - self._frozen

    # -- adapted layers ---------------------------------------------------------------------------

    def _targets(self, number: int, method: Lora | Adapters, whole: set[str]) -> list[str]:
        """The layers that a method adapts, in the model's order; those that are trained whole are left out."""
        key = f"method.{number}.targets"
        why_not, wanted = (
            (lora.why_not, "linear layer, attention or convolution")
            if isinstance(method, Lora)
            else (adapters.why_not, "linear layer")
        )

        def judge(module: nn.Module) -> str | None:  # what an earlier method has adapted is judged below
            return None if isinstance(module, _ADAPTED) else why_not(module)

        named = {name for pattern in method.targets for name in find_layers(key, pattern, self._modules, judge, wanted)}
        if isinstance(method, Lora):
            named |= {f"{name}.out_proj" for name in named if isinstance(self._modules[name], nn.MultiheadAttention)}
        found = [name for name in self._modules if name in named]
        trained = [name for name in found if any(covers(name, weight) for weight in whole)]
        if trained:
            self._tell(f"{method.kind}: left out, because trained whole: {_some(trained)}")
        found = [name for name in found if name not in trained]
        if not found:
            raise ValueInRecipeError(key, f"all layers that are meant are trained whole anyway: {_some(trained)}")
        for name in found:
            self._see_that_free(key, name)
            self._taken[name] = number
        if isinstance(method, Lora) and method.dropout:
            self._refuse_dropout(number, found)
        return found

    def _see_that_free(self, key: str, name: str) -> None:
        if name in self._taken:
            raise ValueInRecipeError(key, f"'{name}' is adapted by method {self._taken[name]} already")
        if isinstance(self._modules[name], _ADAPTED):
            raise ValueInRecipeError(key, f"'{name}' has an adapter from an earlier stage; target other layers")
        weight = next(self._modules[name].parameters(recurse=False))
        names = [other for other, each in self._model.named_parameters(remove_duplicate=False) if each is weight]
        if len(names) > 1:
            raise ValueInRecipeError(
                key, f"'{name}' shares its weight with '{names[0].rpartition('.')[0]}', which would change with it"
            )

    def _refuse_dropout(self, number: int, names: Sequence[str]) -> None:
        for name in names:
            around = self._modules[name.rpartition(".")[0]]
            if any(isinstance(module, nn.MultiheadAttention) for module in (self._modules[name], around)):
                raise ValueInRecipeError(
                    f"method.{number}.dropout",
                    f"'{name}' is only ever read as a weight, so nothing can be dropped before it; set dropout = 0",
                )

    # -- rates ------------------------------------------------------------------------------------

    def _by_rate(self) -> Sequence[Group]:
        """The trained weights, grouped by what their learning rate is multiplied by."""
        rates: dict[str, float] = {}
        weights = {name: weight for name, weight in self._model.named_parameters() if weight.requires_grad}
        for number, method in self._methods.items():
            for pattern, rate in method.rates.items() if isinstance(method, Layers) else ():
                key = f"method.{number}.rates.{pattern}"
                found = find(key, pattern, self._modules)
                meant = [name for name in weights if any(covers(module, name) for module in found)]
                if not meant:
                    raise ValueInRecipeError(key, f"'{found[0]}' is not trained, so it needs no rate")
                rates |= dict.fromkeys(meant, rate)
        scales = list(dict.fromkeys(rates.get(name, 1.0) for name in weights))
        for scale in scales:
            if len(scales) > 1:
                self._tell(f"rate × {scale:g}: {_some([n for n in weights if rates.get(n, 1.0) == scale])}")
        return [
            Group([weight for name, weight in weights.items() if rates.get(name, 1.0) == scale], scale)
            for scale in scales
        ]


_ADAPTED = (lora.LoraLayer, adapters.BottleneckLayer)


def _patterns(number: int, method: AnyMethod) -> Iterator[tuple[str, str]]:
    """The patterns of what a method trains whole, and their keys."""
    if isinstance(method, Layers):
        yield from ((f"method.{number}.train", pattern) for pattern in method.train)
    elif isinstance(method, Lora):
        yield from ((f"method.{number}.also_train", pattern) for pattern in method.also_train)


def _tell_what_is_trained(model: nn.Module, tell: Tell) -> None:
    """Names, counts and per cent."""
    weights = dict(model.named_parameters())
    total = sum(weight.numel() for weight in weights.values())
    trained = {name: weight for name, weight in weights.items() if weight.requires_grad}
    count = sum(weight.numel() for weight in trained.values())
    if count == total:
        tell(f"training all {total:,} weights")
        return
    owners = list(dict.fromkeys(owner_of(name) for name in trained))
    tell(f"training {count:,} of {total:,} weights ({100 * count / total:.3g} %): {_some(owners)}")


def _some(names: Sequence[str], most: int = 6) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
