"""A training step on several processes of this machine."""

import torch
import torch.distributed
import torch.multiprocessing
from torch.nn.parallel import DistributedDataParallel


def gradients_of_ranks(builds, batches, folder):
    """Gradients by name after one step with a process per batch, as every process has them (they agree), by detector.

    Args:
        builds: what makes each of several detectors, one after the other in the same processes, by a key; functions of a
            module, for they are sent to other processes.
        batches: (images, samples) of each process.
        folder: an empty one, where the processes meet.
    """
    torch.multiprocessing.spawn(_steps, (len(batches), builds, batches, str(folder)), nprocs=len(batches))
    results = [torch.load(folder / f"{rank}.pth") for rank in range(len(batches))]
    for other in results[1:]:
        for key, gradients in results[0].items():
            for name, gradient in gradients.items():
                torch.testing.assert_close(gradient, other[key][name], rtol=0, atol=0)
    return results[0]


def _steps(rank, world, builds, batches, folder):
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=world)
    torch.save({key: _step(build, *batches[rank]) for key, build in builds.items()}, f"{folder}/{rank}.pth")
    torch.distributed.destroy_process_group()


def _step(build, images, samples):
    model = build()
    wrapped = DistributedDataParallel(model, find_unused_parameters=False)
    losses = wrapped(images, samples, mode="loss")
    sum(value for name, value in losses.items() if name.startswith("loss")).backward()
    return {name: parameter.grad for name, parameter in model.named_parameters()}
