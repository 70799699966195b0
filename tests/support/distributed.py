"""A training step on several processes of this machine."""

import torch
import torch.distributed
import torch.multiprocessing
from torch.nn.parallel import DistributedDataParallel


def gradients_of_ranks(build, batches, folder):
    """Gradients by name after one step with a process per batch, as every process has them (they agree).

    Args:
        build: makes the detector; a function of a module, for it is sent to other processes.
        batches: (images, samples) of each process.
        folder: an empty one, where the processes meet.
    """
    torch.multiprocessing.spawn(_step, (len(batches), build, batches, str(folder)), nprocs=len(batches))
    results = [torch.load(folder / f"{rank}.pth") for rank in range(len(batches))]
    for other in results[1:]:
        for name, gradient in results[0].items():
            torch.testing.assert_close(gradient, other[name], rtol=0, atol=0)
    return results[0]


def _step(rank, world, build, batches, folder):
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=world)
    model = build()
    wrapped = DistributedDataParallel(model, find_unused_parameters=False)
    images, samples = batches[rank]
    losses = wrapped(images, samples, mode="loss")
    sum(value for name, value in losses.items() if name.startswith("loss")).backward()
    torch.save({name: parameter.grad for name, parameter in model.named_parameters()}, f"{folder}/{rank}.pth")
    torch.distributed.destroy_process_group()
