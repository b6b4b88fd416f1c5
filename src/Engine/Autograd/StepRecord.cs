using TransferEngine.Kernels;

namespace TransferEngine;

/// <summary>
/// A stretch of tensor work that was recorded on this thread and can be replayed: its launches, the memory of others that they read and write, which
/// is kept, and the gradients that came to leaves, which are handed out after each time. Begun a second time, it compares (see <see cref="LaunchRecord"/>).
/// </summary>
internal sealed class StepRecord : IDisposable
{
    [ThreadStatic]
    private static StepRecord? current;

    private readonly LaunchRecord launches;
    private readonly HashSet<Storage> kept = new(ReferenceEqualityComparer.Instance);
    private readonly List<Storage> changed = [];
    private readonly List<(Tensor Leaf, Storage Memory)> leaves = [];
    private readonly List<(Tensor Tensor, Storage Memory)> results = [];

    public StepRecord(Device device) => launches = new(device.Compute);

    ~StepRecord() => launches.Dispose();

    /// <summary>What this thread's tensors are recorded by; null where they are not.</summary>
    public static StepRecord? Current => current;

    /// <summary>Whether all leaves still want a gradient and are where they were.</summary>
    public bool IsCurrent
    {
        get
        {
            foreach (var (leaf, memory) in leaves)
            {
                if (!leaf.RequiresGrad || leaf.IsDisposed || !ReferenceEquals(leaf.Storage, memory))
                    return false;
            }
            return true;
        }
    }

    /// <summary>Runs a step and records it, or compares it with what was recorded before.</summary>
    /// <param name="step">Computes and goes backwards; what it returns is kept, all else it made is given back.</param>
    /// <exception cref="CaptureException">It reads the device, uses another one, or differs from what was recorded.</exception>
    public void Record(Func<Tensor> step)
    {
        Forget();
        bool isWhole = false;
        launches.Begin();
        current = this;
        try
        {
            using (new TensorScope())
                results.Insert(0, (step().KeepAlive(), null!));
            isWhole = true;
        }
        finally
        {
            current = null;
            launches.End(isWhole);
        }
        for (int i = 0; i < results.Count; i++)
            results[i] = (results[i].Tensor, results[i].Tensor.Storage.Retain());
    }

    /// <summary>The result of the last time; it is overwritten by the next.</summary>
    public Tensor Result => Revived(0);

    /// <summary>Runs the recorded launches again. Allocates nothing unless a gradient of the last time is still some leaf's.</summary>
    public void Replay()
    {
        Release();
        launches.Replay();
        foreach (var memory in changed)
            memory.Version++;
    }

    /// <summary>Adds the gradients of the last time to those of the leaves.</summary>
    public void Deliver()
    {
        for (int i = 0; i < leaves.Count; i++)
            leaves[i].Leaf.AddGradient(Revived(i + 1), createGraph: false);
    }

    /// <summary>A gradient for a leaf, which passes to the record.</summary>
    public void Add(Tensor leaf, Tensor gradient)
    {
        leaves.Add((leaf, leaf.Storage));
        results.Add((gradient, null!));
    }

    /// <summary>Keeps memory that a launch is about to use, unless it is the record's own.</summary>
    public void Keep(Storage memory)
    {
        if (!Owns(memory) && kept.Add(memory))
            memory.Retain();
    }

    /// <summary>Whether memory is the record's own: its launches make what is in it.</summary>
    public bool Owns(Storage memory) => memory.Block.Arena == launches.Arena;

    /// <summary>Notes a change in place of memory of others, to be counted at each replay.</summary>
    public void Changed(Storage memory)
    {
        if (!launches.IsComplete && !Owns(memory))
            changed.Add(memory);
    }

    public void Dispose()
    {
        Forget();
        foreach (var memory in kept)
            memory.Release();
        kept.Clear();
        launches.Dispose();
        GC.SuppressFinalize(this);
    }

    /// <summary>Puts copies in the place of gradients that leaves still have from the last time.</summary>
    private void Release()
    {
        foreach (var (leaf, _) in leaves)
        {
            if (leaf.Grad is not { IsDisposed: false } gradient)
                continue;
            foreach (var (_, memory) in results)
            {
                if (!ReferenceEquals(gradient.Storage, memory))
                    continue;
                using (new NoGrad())
                    leaf.Grad = gradient.Clone().KeepAlive();
                break;
            }
        }
    }

    private void Forget()
    {
        Release();
        foreach (var (tensor, memory) in results)
        {
            tensor.Dispose();
            memory?.Release();
        }
        results.Clear();
        leaves.Clear();
    }

    private Tensor Revived(int index)
    {
        var (tensor, memory) = results[index];
        tensor.Revive(memory);
        return tensor;
    }
}
