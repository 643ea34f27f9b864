"""The public names of `ftsdk.cost`, one a line: read by type checkers and, as a table, by `ftsdk._lazy`."""

from ftsdk.cost.advice.advise import Advice as Advice
from ftsdk.cost.advice.advise import advise as advise
from ftsdk.cost.advice.inputs import OwnGpu as OwnGpu
from ftsdk.cost.advice.inputs import Situation as Situation
from ftsdk.cost.comparison.answer import CrossoverAnswer as CrossoverAnswer
from ftsdk.cost.comparison.compare import crossover as crossover
from ftsdk.cost.comparison.workload import Api as Api
from ftsdk.cost.comparison.workload import Dedicated as Dedicated
from ftsdk.cost.comparison.workload import Operations as Operations
from ftsdk.cost.comparison.workload import Quality as Quality
from ftsdk.cost.comparison.workload import SelfHosted as SelfHosted
from ftsdk.cost.comparison.workload import Serverless as Serverless
from ftsdk.cost.comparison.workload import Workload as Workload
from ftsdk.cost.pricebook.api_price import ApiPrice as ApiPrice
from ftsdk.cost.pricebook.api_prices import api_price as api_price
from ftsdk.cost.pricebook.billing import Bill as Bill
from ftsdk.cost.pricebook.book import PriceBook as PriceBook
from ftsdk.cost.pricebook.gpu_prices import gpu_price as gpu_price
from ftsdk.cost.pricebook.price import Price as Price
from ftsdk.cost.serving.capacity import Capacity as Capacity
from ftsdk.cost.serving.shapes import ModelShape as ModelShape
from ftsdk.cost.training.calibration import Calibration as Calibration
from ftsdk.cost.training.estimate import Estimate as Estimate
from ftsdk.cost.training.prediction import TrainingPrediction as TrainingPrediction
from ftsdk.cost.training.prediction import predict_training as predict_training
from ftsdk.cost.training.recipe import Recipe as Recipe
