"""Which features a model type has, in the form that is documented."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from exporter import architectures
from exporter.onnx.ready import READY_CLASSES, ReadyOnnxConfig, ready_class

__all__ = ["FeaturesManager"]

ConfigMaker = Callable[[Any], ReadyOnnxConfig]


class FeaturesManager:
    """Answers about model types and features."""

    @staticmethod
    def get_supported_features_for_model_type(model_type: str, model_name: str | None = None) -> dict[str, ConfigMaker]:
        """The features of a type, each with what makes its configuration from a model's config.

        Args:
            model_type: Type in either spelling.
            model_name: Named in the error.

        Raises:
            KeyError: The type has no features.
        """
        maker = _maker(model_type)
        if maker is None:
            named = f"{model_type} ({model_name})" if model_name else model_type
            raise KeyError(f"{named} is not supported. Supported: {', '.join(architectures.model_types())}.")
        return {feature: partial(maker, task=feature) for feature in architectures.features(model_type)}

    @staticmethod
    def get_config(model_type: str, feature: str) -> ConfigMaker:
        """What makes the configuration for one feature.

        Raises:
            KeyError: The type has no features.
            ValueError: It has others than this one.
        """
        known = FeaturesManager.get_supported_features_for_model_type(model_type)
        if feature not in known:
            raise ValueError(f"{model_type} doesn't support the feature {feature}. Supported: {', '.join(known)}.")
        return known[feature]

    @staticmethod
    def check_supported_model_or_raise(model: Any, feature: str = "default") -> tuple[str, ConfigMaker]:
        """The type of a model, and what makes its configuration for a feature.

        Raises:
            KeyError: The type has no features.
            ValueError: It has others than this one.
        """
        model_type = str(model.config.model_type).replace("_", "-")
        return model_type, FeaturesManager.get_config(model_type, feature)


def _maker(model_type: str) -> type[ReadyOnnxConfig] | None:
    wanted = model_type.replace("_", "-")
    name = next((name for name, known in READY_CLASSES.items() if known == wanted), None)
    if name:
        return ready_class(name)
    return ReadyOnnxConfig if wanted in architectures.model_types() else None
