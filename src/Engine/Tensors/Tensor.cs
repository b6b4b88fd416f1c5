using TransferEngine.Kernels;

namespace TransferEngine;

/// <summary>
/// An array of numbers of one type on one device, with a shape; the node of a recorded graph where a gradient is wanted. Semantics follow
/// PyTorch's. Axes may be counted from the last with negative numbers. Views (reshape, transpose, a slice) share the memory of what they view.
/// Disposing is optional: it gives memory back earlier than the garbage collector would.
/// </summary>
public sealed partial class Tensor : IDisposable
{
    private int[]? strides;
    private Storage? storage;

    /// <summary>A tensor over memory that the caller holds a reference to, which passes to the tensor.</summary>
    internal Tensor(Storage storage, Shape shape, int[]? strides, int offset, ElementType type)
    {
        this.storage = storage;
        Shape = shape;
        this.strides = strides;
        Offset = offset;
        ElementType = type;
        TensorScope.Register(this);
    }

    /// <summary>The sizes of the axes.</summary>
    public Shape Shape { get; }

    /// <summary>The number of axes.</summary>
    public int Rank => Shape.Rank;

    /// <summary>The number of elements.</summary>
    public int Elements => Shape.Elements;

    /// <summary>The type of the elements.</summary>
    public ElementType ElementType { get; private set; }

    /// <summary>Where the elements are.</summary>
    public Device Device => Storage.Device;

    /// <summary>Whether the elements lie one after the other in the order of the axes.</summary>
    public bool IsContiguous => strides is null;

    /// <summary>The scope that will give this tensor back, if any.</summary>
    internal TensorScope? Scope { get; set; }

    internal Storage Storage => storage ?? throw new ObjectDisposedException(
        nameof(Tensor), $"A tensor {Shape} was used after it was disposed. Use it before its scope ends, or Keep it there.");

    internal int Offset { get; private set; }

    internal bool IsDisposed => storage is null;

    internal int[] Strides => strides ?? Shape.ContiguousStrides();

    /// <summary>The elements as kernels take them, from the first on; strided ones reach as far as their block does.</summary>
    internal Slice Slice
    {
        get
        {
            var memory = Storage;
            StepRecord.Current?.Keep(memory);
            return new(memory.Block, Offset, IsContiguous ? Elements : StridedExtent(), ElementType);
        }
    }

    /// <summary>A new tensor with undefined elements.</summary>
    internal static Tensor Allocate(Shape shape, Device device, ElementType type) =>
        new(new Storage(device, (long)shape.Elements * type.Size(), shape), shape, null, 0, type);

    /// <summary>A new contiguous tensor with undefined elements, of this one's device and type.</summary>
    internal Tensor AllocateLike(Shape shape) => Allocate(shape, Device, ElementType);

    /// <summary>Another tensor over the same elements, no part of any graph.</summary>
    internal Tensor Alias() => new(Storage.Retain(), Shape, strides, Offset, ElementType) { held = held };

    /// <summary>A view with other sizes and strides; null strides say contiguous.</summary>
    internal Tensor View(Shape shape, int[]? viewStrides, int offset) => new(Storage.Retain(), shape, viewStrides, offset, ElementType) { held = held };

    /// <summary>Gives the memory back, unless views or a graph still need it. The tensor can't be used afterwards.</summary>
    public void Dispose()
    {
        Interlocked.Exchange(ref storage, null)?.Release();
        Scope = null;
    }

    /// <summary>Lets a tensor that was disposed of stand for its memory again, to which it gets a reference of its own.</summary>
    internal void Revive(Storage memory) => storage ??= memory.Retain();

    /// <summary>Takes the tensor out of the thread's scopes: it lives until it is disposed or collected.</summary>
    /// <returns>This tensor.</returns>
    public Tensor KeepAlive()
    {
        Scope = null;
        return this;
    }

    /// <summary>Type, shape and device, and the elements where there are few.</summary>
    public override string ToString()
    {
        if (IsDisposed)
            return $"{ElementType}{Shape} (disposed)";
        string head = $"{ElementType}{Shape} on {Device}";
        return Elements > 16 ? head : ElementType switch
        {
            ElementType.Float32 => $"{head}: {string.Join(", ", ToArray<float>())}",
            ElementType.Float64 => $"{head}: {string.Join(", ", ToArray<double>())}",
            ElementType.Float16 => $"{head}: {string.Join(", ", ToArray<Half>())}",
            ElementType.BFloat16 => $"{head}: {string.Join(", ", ToArray<BFloat16>())}",
            _ => $"{head}: {string.Join(", ", ToArray<int>())}",
        };
    }

    private int StridedExtent()
    {
        int last = 0;
        for (int axis = 0; axis < Rank; axis++)
            last += (Shape[axis] - 1) * strides![axis];
        return Elements == 0 ? 0 : last + 1;
    }
}

/// <summary>The elements of a tensor in order, outside any graph: its own memory where it is contiguous, otherwise a copy that ends with the using.</summary>
internal readonly struct Dense(Tensor tensor) : IDisposable
{
    private readonly Tensor? copy = tensor.IsContiguous ? null : tensor.ContiguousAlias();

    public Slice Slice => (copy ?? tensor).Slice;

    public void Dispose() => copy?.Dispose();
}
