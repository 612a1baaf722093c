"""What executes the annotations when tests ask for it (see `__init__`): beartype, for which a whole number is a number."""
from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))
