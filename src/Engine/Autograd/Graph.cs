using TransferEngine.Kernels;

namespace TransferEngine;

/// <summary>Records operators and walks the record backwards.</summary>
internal static class Graph
{
    [ThreadStatic]
    private static bool isPaused;

    /// <summary>Whether operators on this thread are recorded.</summary>
    public static bool IsRecording { get => !isPaused; set => isPaused = !value; }

    /// <summary>
    /// Makes <paramref name="output"/> a node of the graph if recording is on and an input needs a gradient; otherwise keeps nothing.
    /// Saved tensors may include the output. An operator that <see cref="Autocast"/> knows gives the type in force as <paramref name="cast"/>: of the first
    /// <paramref name="castSaved"/> tensors saved the computed ones are kept in it, and the backward function runs under it, others under none.
    /// </summary>
    public static Tensor Record(
        string operation, Tensor output, ReadOnlySpan<Tensor> inputs, ReadOnlySpan<Tensor> saved, BackwardFunction backward, ElementType cast = ElementType.Float32, int castSaved = int.MaxValue)
    {
        if (!IsRecording || !AnyNeedsGradient(inputs))
            return output;
        var edges = new GradientNode?[inputs.Length];
        var shapes = new Shape[inputs.Length];
        for (int i = 0; i < inputs.Length; i++)
            (edges[i], shapes[i]) = (inputs[i].Edge, inputs[i].Shape);
        var kept = new SavedTensor[saved.Length];
        for (int i = 0; i < saved.Length; i++)
            kept[i] = new SavedTensor(saved[i], ReferenceEquals(saved[i], output), i < castSaved ? cast : ElementType.Float32);
        output.Edge = new GradientNode(operation, edges, shapes, kept, backward, cast);
        return output;
    }

    /// <summary>Whether recording is on and one of the inputs needs a gradient: what an operator asks before it prepares for backward.</summary>
    public static bool Needs(params ReadOnlySpan<Tensor> inputs) => IsRecording && AnyNeedsGradient(inputs);

    /// <summary>Sends gradients from the roots down to the leaves, where they accumulate, or to <paramref name="targets"/>, whose gradients it returns.</summary>
    public static Tensor?[] Run(ReadOnlySpan<(GradientNode Node, Tensor Gradient)> roots, GradientNode[]? targets, bool retainGraph, bool createGraph)
    {
        var wanted = targets is null ? null : Leading(roots, targets);
        var results = new Tensor?[targets?.Length ?? 0];
        var pending = new Dictionary<GradientNode, Tensor>();
        var order = new PriorityQueue<GradientNode, long>();
        var (wasRecording, outerCast) = (IsRecording, Autocast.Current);
        (IsRecording, Autocast.Current) = (createGraph, ElementType.Float32);
        try
        {
            foreach (var (node, gradient) in roots)
            {
                if (wanted is null || wanted.Contains(node))
                    Deliver(node, gradient.Share());
            }
            while (order.TryDequeue(out var node, out _))
            {
                pending.Remove(node, out var gradient);
                gradient = RunHooks(node, gradient!);
                bool isTarget = false;
                for (int i = 0; i < results.Length; i++)
                {
                    if (targets![i] == node)
                        (results[i], isTarget) = (isTarget ? gradient.Share() : gradient, true);
                }
                if (node.Leaf is { } leaf)
                {
                    if (targets is null)
                        leaf.Accumulate(gradient, createGraph);
                    continue;
                }
                if (Leads(node, wanted))
                    Propagate(node, gradient);
                if (!createGraph && !isTarget && node.Hooks is null)
                    gradient.Dispose();
            }
        }
        finally
        {
            (IsRecording, Autocast.Current) = (wasRecording, outerCast);
        }
        return results;

        void Propagate(GradientNode node, Tensor gradient)
        {
            var backward = node.Backward ?? throw new AutogradException(
                $"Backward: the graph of {node.Operation} was freed by an earlier backward pass. Pass retainGraph: true to that one.");
            Autocast.Current = node.Cast;
            var gradients = backward(gradient, new BackwardContext(node, wanted, createGraph));
            Autocast.Current = ElementType.Float32;
            if (!createGraph)
                node.DropWidened();
            if (gradients.Length != node.Edges.Length)
                throw new AutogradException($"Backward of {node.Operation} returned {gradients.Length} gradients for {node.Edges.Length} inputs.");
            for (int i = 0; i < gradients.Length; i++)
            {
                if (gradients[i] is not { } part || node.Edges[i] is not { } edge || (wanted is not null && !wanted.Contains(edge)))
                    continue;
                if (part.Shape != node.InputShapes[i])
                    throw new AutogradException($"Backward of {node.Operation} returned a gradient {part.Shape} for input {i} of shape {node.InputShapes[i]}.");
                // What is delivered is owned by its receiver alone: the same object for two inputs, or the incoming one, is shared out.
                bool shared = ReferenceEquals(part, gradient) || Array.IndexOf(gradients, part) < i;
                Deliver(edge, shared ? part.Share() : part);
            }
            if (!retainGraph)
                node.Free();
        }

        void Deliver(GradientNode node, Tensor gradient)
        {
            if (!pending.TryGetValue(node, out var sum))
            {
                pending[node] = gradient;
                order.Enqueue(node, -node.Sequence);
            }
            else
            {
                pending[node] = sum.Accumulated(gradient, createGraph);
            }
        }
    }

    private static bool AnyNeedsGradient(ReadOnlySpan<Tensor> inputs)
    {
        foreach (var input in inputs)
        {
            if (input.Edge is not null)
                return true;
        }
        return false;
    }

    /// <summary>Whether an input of a node wants a gradient, and is one of the wanted.</summary>
    private static bool Leads(GradientNode node, HashSet<GradientNode>? wanted)
    {
        foreach (var edge in node.Edges)
        {
            if (edge is not null && (wanted is null || wanted.Contains(edge)))
                return true;
        }
        return false;
    }

    private static Tensor RunHooks(GradientNode node, Tensor gradient)
    {
        if (node.Hooks is null)
            return gradient;
        foreach (var hook in node.Hooks.ToArray())
            gradient = hook(gradient) ?? gradient;
        return gradient;
    }

    /// <summary>The nodes on a path from the roots to a target.</summary>
    private static HashSet<GradientNode> Leading(ReadOnlySpan<(GradientNode Node, Tensor Gradient)> roots, GradientNode[] targets)
    {
        var seen = new HashSet<GradientNode>();
        var stack = new Stack<GradientNode>();
        foreach (var (node, _) in roots)
            stack.Push(node);
        while (stack.TryPop(out var node))
        {
            if (!seen.Add(node))
                continue;
            foreach (var edge in node.Edges)
            {
                if (edge is not null)
                    stack.Push(edge);
            }
        }
        // Inputs have smaller numbers than their users, so ascending order decides each node after its inputs.
        var leading = new HashSet<GradientNode>(targets);
        foreach (var node in seen.OrderBy(node => node.Sequence))
        {
            if (Leads(node, leading))
                leading.Add(node);
        }
        return leading;
    }
}
