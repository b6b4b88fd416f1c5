using TransferEngine.Kernels;

namespace TransferEngine;

/// <summary>
/// One recorded operator, or the end of the graph at a leaf, where gradients accumulate. It knows the nodes of its inputs, null for an input
/// that needs no gradient, and how to turn the gradient of its output into theirs.
/// </summary>
internal sealed class GradientNode
{
    private static long lastSequence;

    private SavedTensor[] saved;
    private List<Tensor>? widened;

    public GradientNode(string operation, GradientNode?[] edges, Shape[] shapes, SavedTensor[] saved, BackwardFunction backward, ElementType cast = ElementType.Float32)
    {
        (Operation, Edges, InputShapes, this.saved, Backward, Cast) = (operation, edges, shapes, saved, backward, cast);
    }

    private GradientNode(Tensor leaf) : this("leaf", [], [], [], static (_, _) => []) => Leaf = leaf;

    public string Operation { get; }

    public GradientNode?[] Edges { get; }

    public Shape[] InputShapes { get; }

    /// <summary>The type of <see cref="Autocast"/> that the operator ran under, and its gradient does; Float32 for none.</summary>
    public ElementType Cast { get; }

    /// <summary>The tensor whose gradient accumulates here, at the end of the graph.</summary>
    public Tensor? Leaf { get; }

    /// <summary>Later operators have greater numbers, so that descending order visits users before what they used.</summary>
    public long Sequence { get; } = Interlocked.Increment(ref lastSequence);

    public BackwardFunction? Backward { get; private set; }

    public List<Func<Tensor, Tensor?>>? Hooks { get; set; }

    public static GradientNode ForLeaf(Tensor leaf) => new(leaf);

    public Tensor Saved(int index)
    {
        var tensor = saved[index].Restore(this);
        if (saved[index].Widens)
            (widened ??= []).Add(tensor);
        return tensor;
    }

    /// <summary>Gives back what was restored from 16 bits: backward has used it.</summary>
    public void DropWidened()
    {
        widened?.ForEach(tensor => tensor.Dispose());
        widened = null;
    }

    /// <summary>Lets go what was saved: backward has consumed it.</summary>
    public void Free()
    {
        if (Leaf is not null)
            return;
        Backward = null;
        foreach (var item in saved)
            item.Release();
        saved = [];
    }
}

/// <summary>Turns the gradient of an operator's output into those of its inputs, null for what needs none.</summary>
internal delegate Tensor?[] BackwardFunction(Tensor gradient, BackwardContext context);

/// <summary>What a backward function may ask for.</summary>
internal readonly struct BackwardContext(GradientNode node, HashSet<GradientNode>? wanted, bool createsGraph)
{
    /// <summary>Whether gradients of gradients are wanted: the backward pass must then be written in recorded operators.</summary>
    public bool CreatesGraph => createsGraph;

    /// <summary>A saved tensor, in its place in the graph; an error if it was changed in place since.</summary>
    public Tensor this[int index] => node.Saved(index);

    /// <summary>Whether the gradient of an input is wanted.</summary>
    public bool Needs(int input) => node.Edges[input] is { } edge && (wanted is null || wanted.Contains(edge));
}

/// <summary>A tensor kept for backward: a reference to its memory, its place in the graph, and the version it had. A computed one may be kept in 16 bits.</summary>
internal readonly struct SavedTensor
{
    private readonly Storage storage;
    private readonly Shape shape;
    private readonly int[]? strides;
    private readonly int offset;
    private readonly ElementType type;
    private readonly GradientNode? edge;
    private readonly int version;
    private readonly bool isOutput;

    public SavedTensor(Tensor tensor, bool isOutput, ElementType cast)
    {
        (shape, edge, this.isOutput) = (tensor.Shape, tensor.Edge, isOutput);
        // A leaf is there anyhow, and a copy of it would be memory on top.
        Widens = cast.IsNarrow() && tensor.ElementType == ElementType.Float32 && (isOutput || edge is { Leaf: null });
        var kept = Widens ? tensor.Narrowed(cast) : tensor;
        storage = kept.Storage.Retain();
        (strides, offset, type) = (kept.IsContiguous ? null : kept.Strides, kept.Offset, kept.ElementType);
        version = storage.Version;
        if (Widens)
            kept.Dispose();
    }

    /// <summary>Whether it is kept in 16 bits and restored as Float32.</summary>
    public bool Widens { get; }

    public Tensor Restore(GradientNode owner)
    {
        if (storage.Version != version)
            throw new AutogradException($"Backward of {owner.Operation}: the tensor {shape} that it saved was changed in place since (version {storage.Version}, saved at {version}). Use an operator that makes a new tensor, or Clone() it first.");
        var tensor = new Tensor(storage.Retain(), shape, strides, offset, type);
        if (Widens)
        {
            using var narrow = tensor;
            tensor = narrow.Widened();
        }
        tensor.Edge = isOutput ? owner : edge;
        return tensor;
    }

    public void Release() => storage.Release();
}
