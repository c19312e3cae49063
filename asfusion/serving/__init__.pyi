from .service import Limits as Limits
from .service import make_app as make_app
from .exporter import export as export
from .onnx_model import OnnxModel as OnnxModel
