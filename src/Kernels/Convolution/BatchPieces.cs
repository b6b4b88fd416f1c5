using System.Runtime.CompilerServices;
using ILGPU;

namespace TransferEngine.Kernels;

/// <summary>
/// A weight gradient in pieces: where it is too small to occupy a machine, the batch is cut into pieces of equally many images, each with a gradient of
/// its own, and these are added up in order. The cut depends on the shape alone, and so do the bits of the result.
/// </summary>
internal readonly struct BatchPieces : IDisposable
{
    private readonly ComputeDevice device;
    private readonly MemoryBlock? block;
    private readonly Slice result;

    /// <param name="device">Where.</param>
    /// <param name="batch">The images.</param>
    /// <param name="wanted">How many pieces would be enough.</param>
    /// <param name="result">The gradient, which is its own only piece if one is enough.</param>
    public BatchPieces(ComputeDevice device, int batch, int wanted, in Slice result)
    {
        (this.device, this.result, Count) = (device, result, Math.Clamp(wanted, 1, Math.Max(batch, 1)));
        while (batch % Count != 0)
            Count--;
        Images = batch / Count;
        block = Count == 1 ? null : device.Memory.Rent((long)result.Type.Size() * result.Length * Count, null);
        Sums = block is null ? result : new Slice(block, 0, result.Length * Count, result.Type);
    }

    public int Count { get; }

    /// <summary>The images of a piece.</summary>
    public int Images { get; }

    /// <summary>The gradients of all pieces, one after the other.</summary>
    public Slice Sums { get; }

    public void AddUp<T>() where T : unmanaged
    {
        if (Count == 1)
            return;
        int size = result.Length, chunk = device.ChunkOf(size);
        device.Launch<T, SumPieces<T>>((size + chunk - 1) / chunk, new(Sums.View<T>(), result.View<T>(), Count, size, chunk));
    }

    public void Dispose()
    {
        if (block is not null)
            device.Memory.Return(block);
    }
}

/// <summary>One work item: <c>chunk</c> elements of y, each the sum of that element over the pieces, in order.</summary>
internal readonly struct SumPieces<T>(ArrayView<T> pieces, ArrayView<T> y, int count, int size, int chunk) : IKernel<T> where T : unmanaged
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public void Execute<L>(int item) where L : unmanaged, ILane<L, T>
    {
        var (source, destination) = (pieces, y);
        int end = Math.Min(size, (item + 1) * chunk);
        for (int i = item * chunk; i < end; i += L.Width)
        {
            var sum = L.Load(source, i, end - i, L.Constant(0));
            for (int p = 1; p < count; p++)
                sum += L.Load(source, p * size + i, end - i, L.Constant(0));
            L.Store(destination, i, end - i, sum);
        }
    }
}
