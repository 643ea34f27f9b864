"""A process that serves one GGUF file by llama.cpp on loopback until its standard input is closed. Imports no ftsdk."""

import importlib
import json
import os
import sys


def main() -> None:
    """Read the settings from the first line of standard input, and answer with the address."""
    settings = json.loads(sys.stdin.readline())
    sys.stdout.flush()
    # llama.cpp writes its log to both streams: the address goes out by a descriptor that it doesn't know.
    answer = os.fdopen(os.dup(1), "w")
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    if not settings["verbose"]:
        os.dup2(silent, 2)
    try:
        xllamacpp = importlib.import_module("xllamacpp")

        params = xllamacpp.CommonParams()
        params.model.path = settings["model"]
        params.n_ctx = settings["context"]
        params.n_parallel = 1
        params.use_jinja = True
        params.warmup = False
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = settings["threads"]
        adapters = []
        for path in settings["adapters"]:
            adapter = xllamacpp.CommonAdapterLoraInfo()
            adapter.path, adapter.scale = path, settings["scale"]
            adapters.append(adapter)
        if adapters:
            params.lora_adapters = adapters
            params.lora_init_without_apply = not settings["scale"]
        server = xllamacpp.Server(params)
        found = {"address": server.listening_address}
    except BaseException as error:  # noqa: BLE001 - whatever it is, the parent has to hear of it
        found = {"error": f"{type(error).__name__}: {error}"}
    answer.write(json.dumps(found) + "\n")
    answer.flush()
    if "address" in found:
        sys.stdin.read()  # until the parent closes it, or is gone
    os._exit(0)  # the server's threads have no end of their own


if __name__ == "__main__":
    main()
