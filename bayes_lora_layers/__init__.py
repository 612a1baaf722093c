__version__ = "0.1.0"

import os as _os
import warnings as _warnings

# of asdl, which laplace-torch imports: nobody who reads it can do anything about it
_warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated", FutureWarning)

if _os.environ.get("BAYES_LORA_LAYERS_CHECK_TYPES"):  # tests run with the annotations executed
    from jaxtyping import install_import_hook as _install_import_hook

    from . import _types

    _install_import_hook("bayes_lora_layers", "bayes_lora_layers._types.check")
