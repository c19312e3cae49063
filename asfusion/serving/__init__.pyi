from .onnx_model import OnnxModel as OnnxModel
from .service import Limits as Limits
from .service import make_app as make_app
