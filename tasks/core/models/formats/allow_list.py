"""Which types and functions a model's file may name, when nobody has allowed more.

Names are exact wherever that is possible. Of scikit-learn's estimator packages the classes are allowed, never the
functions, and never a name reached through an attribute ('sklearn.base.os.system'): what a rule lets through must be
a class that this very module defines.

An allow-list narrows what a file can do. It does not make a stranger's pickle safe: what is on the list was not written
against files that lie, and numpy and scikit-learn trust the arrays inside a model. Register models that come from people
you trust.
"""

from __future__ import annotations

import importlib
import types
from collections.abc import Collection
from typing import Any

import numpy as np


def _words(text: str) -> list[str]:
    return text.split()


_EXACT: dict[str, str] = {
    "_codecs": "encode",
    "builtins": "bool bytearray bytes complex dict float frozenset int list object range set slice str tuple",
    "collections": "Counter OrderedDict defaultdict deque",
    "copyreg": "_reconstructor",
    "datetime": "date datetime time timedelta timezone",
    "decimal": "Decimal",
    "functools": "partial",  # Of a few functions alone: see may_be_partial.
    "joblib.numpy_pickle": "NumpyArrayWrapper",
    "numpy": "bool bool_ bytes_ complex128 complex64 datetime64 dtype float16 float32 float64 int16 int32 int64 int8 "
    "longdouble longlong ndarray object_ str_ timedelta64 uint16 uint32 uint64 uint8 ulonglong",
    "numpy._core.multiarray": "_reconstruct scalar",
    "numpy._core.numeric": "_frombuffer",
    "numpy.core.multiarray": "_reconstruct scalar",
    "numpy.core.numeric": "_frombuffer",
    "numpy.ma": "MaskedArray",
    "numpy.ma.core": "MaskedArray _mareconstruct",
    "numpy.random": "Generator RandomState",
    "numpy.random._generator": "Generator",
    "numpy.random._mt19937": "MT19937",
    "numpy.random._pcg64": "PCG64 PCG64DXSM",
    "numpy.random._philox": "Philox",
    "numpy.random._pickle": "__bit_generator_ctor __generator_ctor __randomstate_ctor",
    "numpy.random._sfc64": "SFC64",
    "numpy.random.bit_generator": "SeedSequence __pyx_unpickle_SeedSequence",
    "numpy.random.mtrand": "RandomState",
    "pandas._libs.missing": "NA",
    "pandas.core.dtypes.dtypes": "CategoricalDtype DatetimeTZDtype",
    "scipy._lib.array_api_compat.numpy._aliases": "asarray",
    "scipy.interpolate._bsplines": "BSpline",
    "scipy.interpolate._interpolate": "interp1d",
    "scipy.sparse._coo": "coo_array coo_matrix",
    "scipy.sparse._csc": "csc_array csc_matrix",
    "scipy.sparse._csr": "csr_array csr_matrix",
    "scipy.sparse._dia": "dia_array dia_matrix",
    # How scikit-learn before 1.9 made its compiled losses anew.
    "sklearn._loss._loss": "__pyx_unpickle_CyAbsoluteError __pyx_unpickle_CyExponentialLoss "
    "__pyx_unpickle_CyHalfBinomialLoss __pyx_unpickle_CyHalfGammaLoss __pyx_unpickle_CyHalfMultinomialLoss "
    "__pyx_unpickle_CyHalfPoissonLoss __pyx_unpickle_CyHalfSquaredError __pyx_unpickle_CyHalfTweedieLoss "
    "__pyx_unpickle_CyHalfTweedieLossIdentity __pyx_unpickle_CyHuberLoss __pyx_unpickle_CyPinballLoss",
    "sklearn.feature_selection._univariate_selection": "chi2 f_classif f_oneway f_regression r_regression",
    "sklearn.linear_model._sgd_fast": "__pyx_unpickle_Classification __pyx_unpickle_Regression",
    "sklearn.metrics._classification": "accuracy_score balanced_accuracy_score brier_score_loss f1_score log_loss "
    "precision_score recall_score",
    "sklearn.metrics._dist_metrics": "__pyx_unpickle_DistanceMetric newObj",
    "sklearn.metrics._ranking": "average_precision_score roc_auc_score",
    "sklearn.metrics._regression": "mean_absolute_error mean_squared_error r2_score root_mean_squared_error",
    "sklearn.metrics._scorer": "_CurveScorer _PassthroughScorer _Scorer",
    "sklearn.neighbors._ball_tree": "newObj",
    "sklearn.neighbors._kd_tree": "newObj",
    "sklearn.utils._bunch": "Bunch",
    "sklearn.utils._metadata_requests": "MetadataRequest MethodMetadataRequest",
    "sklearn.utils.validation": "check_array",
}
EXACT = frozenset(f"{module}.{name}" for module, names in _EXACT.items() for name in names.split())

# What files call, rather than only hold: how the libraries above have their objects made anew. Of scikit-learn's estimators
# none is called; an object is made empty, and gets its state. Functions that a model holds, and numpy's, are values.
_CALLED: dict[str, str] = {
    "_codecs": "encode",
    "builtins": "bytearray bytes complex frozenset range set slice",
    "collections": "Counter OrderedDict defaultdict deque",
    "copyreg": "_reconstructor",
    "datetime": "date datetime time timedelta timezone",
    "decimal": "Decimal",
    "functools": "partial",
    "numpy": "dtype",
    "numpy._core.multiarray": "_reconstruct scalar",
    "numpy._core.numeric": "_frombuffer",
    "numpy.ma.core": "_mareconstruct",
    "numpy.random._pickle": "__bit_generator_ctor __generator_ctor __randomstate_ctor",
    "numpy.random.bit_generator": "__pyx_unpickle_SeedSequence",
    "sklearn._loss._loss": "CyAbsoluteError CyExponentialLoss CyHalfBinomialLoss CyHalfGammaLoss CyHalfMultinomialLoss "
    f"CyHalfPoissonLoss CyHalfSquaredError CyHalfTweedieLoss CyHalfTweedieLossIdentity CyHuberLoss CyPinballLoss "
    f"{_EXACT['sklearn._loss._loss']}",
    "sklearn.linear_model._sgd_fast": "Classification EpsilonInsensitive Hinge Huber Log LossFunction ModifiedHuber Regression "
    f"SquaredEpsilonInsensitive SquaredHinge SquaredLoss {_EXACT['sklearn.linear_model._sgd_fast']}",
    "sklearn.metrics._dist_metrics": "__pyx_unpickle_DistanceMetric newObj",
    "sklearn.neighbors._ball_tree": "newObj",
    "sklearn.neighbors._kd_tree": "newObj",
    "sklearn.tree._tree": "Tree",
}
_CALLED_NAMES = frozenset(f"{module}.{name}" for module, names in _CALLED.items() for name in names.split())

# Packages of scikit-learn that define estimators and what estimators are made of.
_CLASSES_OF = frozenset(
    f"sklearn.{package}"
    for package in _words(
        "_loss calibration cluster compose covariance cross_decomposition decomposition discriminant_analysis dummy "
        "ensemble feature_extraction feature_selection frozen gaussian_process impute isotonic kernel_approximation "
        "kernel_ridge linear_model manifold mixture model_selection multiclass multioutput naive_bayes neighbors "
        "neural_network pipeline preprocessing random_projection semi_supervised svm tree"
    )
) | {"sklearn.metrics._dist_metrics"}
_NO_ESTIMATORS = frozenset({"tests", "_export", "_plot", "_reingold_tilford"})

# Whoever can name one of these can run anything. Nobody can allow them.
_NEVER_MODULES = frozenset(
    _words(
        "__main__ __mp_main__ _io _osx_support _posixsubprocess _pickle asyncio atexit bdb cloudpickle code codeop commands cProfile ctypes dill "
        "distutils ensurepip fcntl ftplib gc glob http imaplib imp importlib inspect io joblib.externals joblib.memory marshal "
        "mmap multiprocessing nt ntpath operator os pathlib pdb pickle pip pkgutil platform poplib posix posixpath profile pty "
        "pydoc resource runpy setuptools shelve shutil signal site smtplib socket socketserver sqlite3 ssl subprocess sys "
        "tempfile threading timeit trace types urllib venv webbrowser xmlrpc zipimport"
    )
)
_NEVER_NAMES = frozenset(
    f"builtins.{name}"
    for name in _words(
        "__import__ breakpoint classmethod compile delattr eval exec filter getattr globals input locals map memoryview "
        "open property reduce setattr staticmethod super type vars"
    )
) | {
    "joblib.numpy_pickle.load",
    "joblib.numpy_pickle_compat.NDArrayWrapper",
    "joblib.numpy_pickle_compat.ZNDArrayWrapper",
    "numpy.DataSource",
    "numpy.fromfile",
    "numpy.load",
    "numpy.save",
    "pandas.eval",
    "pandas.read_pickle",
}
# Python 2's names, that protocols 0 to 2 still write; and what scikit-learn 1.5 to 1.8 called its compiled losses.
_OLD_MODULES = {"__builtin__": "builtins", "copy_reg": "copyreg", "_loss": "sklearn._loss._loss"}


class NotAllowed(Exception):
    """The file names something that is on no allow-list."""

    def __init__(self, type_name: str, *, forbidden: bool = False) -> None:
        super().__init__(type_name)
        self.type_name = type_name
        self.forbidden = forbidden


class Misused(NotAllowed):
    """The file does with what it names what files of models do not do."""


def resolve(module: str, name: str, accepted: Collection[str] = ()) -> Any:
    """The object behind a name in a model's file; NotAllowed, before anything is imported, where no list has it."""
    module = _OLD_MODULES.get(module, module)
    full_name = f"{module}.{name}"
    if is_forbidden(full_name):
        raise NotAllowed(full_name, forbidden=True)
    if full_name == "numpy.memmap":
        # Its constructor creates files. joblib names it only to say what kind of array was saved.
        return np.ndarray
    if full_name in EXACT or full_name in accepted:
        return _look_up(module, name)
    if _is_estimator_module(module) and name.isidentifier():
        found = _look_up(module, name)
        if isinstance(found, type) and _is_estimator_module(_OLD_MODULES.get(found.__module__, found.__module__)):
            return found
    if module == "numpy" and name.isidentifier():
        found = getattr(np, name, None)
        if isinstance(found, np.ufunc):
            return found
    raise NotAllowed(full_name)


def canonical_name(module: str, name: str) -> str:
    """'module.name', where it lies in this Python and in numpy 2."""
    module = _OLD_MODULES.get(module, module)
    return f"{module}.{name}".replace("numpy.core.", "numpy._core.", 1)


def is_called_by_files(full_name: str) -> bool:
    """Whether a file on the default list may call this, rather than only hold it."""
    return full_name in _CALLED_NAMES


def is_allowed(type_name: str) -> bool:
    """Whether the default list has 'module.Name'."""
    module, _, name = type_name.rpartition(".")
    try:
        resolve(module, name)
    except (NotAllowed, ImportError, AttributeError):
        return False
    return True


def is_forbidden(type_name: str) -> bool:
    """Whether nobody can allow 'module.Name'."""
    parts = type_name.split(".")
    return type_name in _NEVER_NAMES or any(".".join(parts[:depth]) in _NEVER_MODULES for depth in (1, 2))


def may_be_partial(function: object) -> bool:
    """Whether functools.partial may hold this: what scikit-learn itself puts there."""
    return getattr(function, "__module__", "") == "sklearn.utils.validation" and isinstance(
        function, types.FunctionType
    )


def _is_estimator_module(module: str) -> bool:
    parts = module.split(".")
    known = ".".join(parts[:2]) in _CLASSES_OF or module in _CLASSES_OF
    return known and not _NO_ESTIMATORS & set(parts)


def _look_up(module: str, name: str) -> Any:
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found
