# make demo   a whole network on this computer trains a model
# make test   every check and every test
# Both need Linux or macOS with Python 3.11 or newer. Windows: see README.md.

.PHONY: demo test setup golden clean

demo: setup
	.venv/bin/potminer devnet --validators 4 --trainers 3 --task assets/tasks/digits.toml --dir .demo

# PYTEST_ARGS narrows the tests down: make test PYTEST_ARGS="tests/unit -x"
test: setup
	@packaging/check.sh $(PYTEST_ARGS)

setup:
	@packaging/setup.sh train,test

# Only for a new kind of message: bytes that change under an old number split the network.
golden: setup
	.venv/bin/python tests/vectors/wire_examples.py

clean:
	rm -rf .venv .demo build dist potminer.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
