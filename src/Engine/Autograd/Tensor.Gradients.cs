using TransferEngine.Kernels;

namespace TransferEngine;

public sealed partial class Tensor
{
    /// <summary>
    /// Whether a gradient is wanted: of a leaf because it was set, of any other tensor because it was computed from such a leaf.
    /// </summary>
    /// <exception cref="AutogradException">Set to false on a computed tensor.</exception>
    /// <exception cref="ElementTypeException">Set to true on integers, or on elements of 16 bits.</exception>
    public bool RequiresGrad
    {
        get => Edge is not null;
        set
        {
            if (value == RequiresGrad)
                return;
            if (value)
            {
                Check.Floating("RequiresGrad", this);
                Edge = GradientNode.ForLeaf(this);
            }
            else
            {
                if (!IsLeaf)
                    throw new AutogradException($"RequiresGrad: {Shape} was computed by {Edge!.Operation} and needs a gradient through it. Use Detach().");
                Edge = null;
            }
        }
    }

    /// <summary>Whether the tensor was made by the user rather than computed under recording.</summary>
    public bool IsLeaf => Edge is null || Edge.Leaf is not null;

    /// <summary>The accumulated gradient of a leaf; null before the first backward pass. Set it to null to start anew.</summary>
    public Tensor? Grad { get; set; }

    /// <summary>The type of this tensor's gradient: its own, but Float32 for 16 bits.</summary>
    internal ElementType GradientType => ElementType.IsNarrow() ? ElementType.Float32 : ElementType;

    /// <summary>The node that gradients of this tensor go to; null where none is wanted.</summary>
    internal GradientNode? Edge { get; set; }

    /// <summary>
    /// Computes the gradients of this tensor for all leaves below it and adds them to their <see cref="Grad"/>.
    /// </summary>
    /// <param name="gradient">The gradient of this tensor, of its shape; 1 if null, where it has one element.</param>
    /// <param name="retainGraph">Keeps the graph for another backward pass; otherwise it is freed as it is consumed.</param>
    /// <param name="createGraph">Records the backward pass too, so that gradients of gradients can be taken. Implies <paramref name="retainGraph"/>.</param>
    /// <param name="inputs">The only leaves whose gradients are wanted, where not those of all; what does not lead to them is not run.</param>
    /// <exception cref="AutogradException">Nothing was recorded, the graph was freed, a saved tensor was changed in place, or an input is no leaf that needs a gradient.</exception>
    /// <exception cref="ShapeException">No gradient was given for more than one element, or one of another shape.</exception>
    public void Backward(Tensor? gradient = null, bool retainGraph = false, bool createGraph = false, IReadOnlyList<Tensor>? inputs = null)
    {
        var node = Edge ?? throw new AutogradException($"Backward: nothing was recorded for {Shape}. Set RequiresGrad on an input before computing it, outside NoGrad.");
        var seed = SeedGradient(gradient);
        var targets = inputs?.Select((input, i) => input.Edge is { Leaf: not null } leaf ? leaf
            : throw new AutogradException($"Backward: input {i} of shape {input.Shape} is no leaf that needs a gradient. Give parameters that are not frozen, or ask Gradients for those of computed tensors.")).Distinct().ToArray();
        var found = Graph.Run([(node, seed)], targets, retainGraph || createGraph, createGraph);
        for (int i = 0; i < found.Length; i++)
        {
            if (found[i] is { } part)
                targets![i].Leaf!.Accumulate(part, createGraph);
        }
        if (gradient is null && !createGraph)
            seed.Dispose();
    }

    /// <summary>
    /// Computes the gradients of <paramref name="output"/> for <paramref name="inputs"/> and returns them, leaving every <see cref="Grad"/> as it is.
    /// </summary>
    /// <param name="output">What is differentiated.</param>
    /// <param name="inputs">By what; leaves or computed tensors that need gradients.</param>
    /// <param name="gradient">The gradient of the output, of its shape; 1 if null, where it has one element.</param>
    /// <param name="retainGraph">Keeps the graph for another backward pass.</param>
    /// <param name="createGraph">Records the backward pass too. Implies <paramref name="retainGraph"/>.</param>
    /// <returns>A gradient for each input, zeros where the output does not depend on it.</returns>
    /// <exception cref="AutogradException">An input needs no gradient, or as for <see cref="Backward"/>.</exception>
    public static Tensor[] Gradients(Tensor output, IReadOnlyList<Tensor> inputs, Tensor? gradient = null, bool retainGraph = false, bool createGraph = false)
    {
        ArgumentNullException.ThrowIfNull(output);
        ArgumentNullException.ThrowIfNull(inputs);
        var node = output.Edge ?? throw new AutogradException($"Gradients: nothing was recorded for {output.Shape}. Set RequiresGrad on an input before computing it, outside NoGrad.");
        var targets = new GradientNode[inputs.Count];
        for (int i = 0; i < targets.Length; i++)
            targets[i] = inputs[i].Edge ?? throw new AutogradException($"Gradients: input {i} of shape {inputs[i].Shape} needs no gradient. Set RequiresGrad on it first.");
        var found = Graph.Run([(node, output.SeedGradient(gradient))], targets, retainGraph || createGraph, createGraph);
        return [.. found.Select((g, i) => g ?? Zeros(inputs[i].Shape, inputs[i].Device, inputs[i].GradientType))];
    }

    /// <summary>
    /// Calls <paramref name="hook"/> with the gradient of this tensor whenever one is computed; what it returns, unless null, takes its place.
    /// </summary>
    /// <param name="hook">Gets the gradient, of this tensor's shape.</param>
    /// <returns>Disposing it removes the hook.</returns>
    /// <exception cref="AutogradException">No gradient is wanted of this tensor.</exception>
    public IDisposable RegisterHook(Func<Tensor, Tensor?> hook)
    {
        ArgumentNullException.ThrowIfNull(hook);
        var node = Edge ?? throw new AutogradException($"RegisterHook: {Shape} needs no gradient. Set RequiresGrad first.");
        (node.Hooks ??= []).Add(hook);
        return new HookRegistration(node, hook);
    }

    /// <summary>The same elements, no part of any graph.</summary>
    public Tensor Detach() => Alias();

    /// <summary>Adds to <see cref="Grad"/>; the gradient passes to this tensor.</summary>
    internal void Accumulate(Tensor gradient, bool createGraph)
    {
        var record = StepRecord.Current;
        // What becomes a leaf's gradient is its own: clipping, say, changes it in place, and must not change another's.
        if (!createGraph && (record is not null || Grad is null) && !gradient.Storage.IsExclusive)
        {
            var own = gradient.Clone();
            gradient.Dispose();
            gradient = own;
        }
        if (record is not null)
            record.Add(this, gradient.KeepAlive());
        else
            AddGradient(gradient, createGraph);
    }

    /// <summary>As <see cref="Accumulate"/>, of a gradient that is no other leaf's, and outside of any record.</summary>
    internal void AddGradient(Tensor gradient, bool createGraph) => Grad = (Grad is null ? gradient : Grad.Accumulated(gradient, createGraph)).KeepAlive();

    /// <summary>The sum with a gradient that passes to it, in place where no other holder sees it.</summary>
    internal Tensor Accumulated(Tensor other, bool createGraph)
    {
        if (createGraph)
            return this + other;
        if (IsContiguous && Storage.IsExclusive)
        {
            using (var dense = new Dense(other))
                Elementwise.Zip(Device.Compute, default(Add), Slice, dense.Slice, Slice);
            other.Dispose();
            return this;
        }
        bool wasRecording = Graph.IsRecording;
        Graph.IsRecording = false;
        try
        {
            var sum = this + other;
            Dispose();
            other.Dispose();
            return sum;
        }
        finally
        {
            Graph.IsRecording = wasRecording;
        }
    }

    /// <summary>Another tensor over the same elements in the same place of the graph.</summary>
    internal Tensor Share()
    {
        var alias = Alias();
        alias.Edge = Edge;
        return alias;
    }

    private Tensor SeedGradient(Tensor? gradient)
    {
        if (gradient is null)
        {
            Check.That(Elements == 1, $"Backward: {Shape} has {Elements:N0} elements; only one has a gradient of 1 by itself. Pass the gradient, or reduce it with Sum().");
            return Ones(Shape, Device, GradientType);
        }
        Check.SameDevice("Backward", this, gradient);
        if (gradient.ElementType != GradientType)
            throw new ElementTypeException($"Backward: the gradient of {Shape}, which is {ElementType}, is {gradient.ElementType}, wanted {GradientType}. Convert it with To(ElementType.{GradientType}).");
        Check.That(gradient.Shape == Shape, $"Backward: the gradient {gradient.Shape} is not of the shape of the tensor, {Shape}.");
        return gradient;
    }

    private sealed class HookRegistration(GradientNode node, Func<Tensor, Tensor?> hook) : IDisposable
    {
        public void Dispose() => node.Hooks?.Remove(hook);
    }
}
