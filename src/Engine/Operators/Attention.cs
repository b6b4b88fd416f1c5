using TransferEngine.Kernels;

namespace TransferEngine;

public sealed partial class Tensor
{
    /// <summary>
    /// Takes, for each row of this (a query), the mean of the rows of <paramref name="value"/>, weighted by how the query meets the rows of
    /// <paramref name="key"/>: softmax(scale · this keyᵀ + mask) value (Vaswani et al., NeurIPS 2017, equation 1), without a matrix of all weights in memory
    /// (Dao et al., FlashAttention, NeurIPS 2022).
    /// </summary>
    /// <param name="key">[..., S, E] for this [..., L, E].</param>
    /// <param name="value">[..., S, V]. The batch axes of all three broadcast.</param>
    /// <param name="mask">What is added to the scores, and broadcasts to [..., L, S]: 0 where a query may look, -∞ where it may not; null for none.</param>
    /// <param name="scale">The factor of the scores; 1 / √E if null.</param>
    /// <returns>[..., L, V].</returns>
    /// <exception cref="ShapeException">The sizes do not fit.</exception>
    /// <remarks>
    /// Gradient: through the products and the softmax; kept for it are the output and one number a query, and weights are computed again block by block. Only the gradient of a
    /// mask, and gradients of gradients, are composed of operators over the whole [..., L, S]. A query that may look nowhere gives NaN, as in PyTorch; without any
    /// key the result is 0. Under <see cref="Autocast"/> queries, keys, values and the incoming gradient are rounded; weights and their gradients between the products are not, but where
    /// gradients are composed.
    /// </remarks>
    public Tensor ScaledDotProductAttention(Tensor key, Tensor value, Tensor? mask = null, double? scale = null)
    {
        const string Operation = "ScaledDotProductAttention";
        ArgumentNullException.ThrowIfNull(key);
        ArgumentNullException.ThrowIfNull(value);
        Check.Alike(Operation, this, key);
        Check.Alike(Operation, this, value);
        Check.That(Rank >= 2 && key.Rank >= 2 && value.Rank >= 2 && Shape[-1] == key.Shape[-1] && key.Shape[-2] == value.Shape[-2],
            $"{Operation}: queries {Shape}, keys {key.Shape} and values {value.Shape}; wanted [..., L, E], [..., S, E] and [..., S, V].");
        var batch = Shape.Broadcast($"{Operation} (batch axes)", BatchOf(this), Shape.Broadcast($"{Operation} (batch axes)", BatchOf(key), BatchOf(value)));
        Shape scores = [.. batch.Span, Shape[-2], key.Shape[-2]];
        if (mask is not null)
        {
            Check.Alike(Operation, this, mask);
            Check.That(Shape.Broadcast($"{Operation} (mask)", mask.Shape, scores) == scores, $"{Operation}: the mask {mask.Shape} does not broadcast to the scores {scores}.");
        }
        double factor = scale ?? 1 / Math.Sqrt(Math.Max(1, Shape[-1]));
        var y = AllocateLike([.. batch.Span, Shape[-2], value.Shape[-1]]);
        Tensor[] inputs = mask is null ? [this, key, value] : [this, key, value, mask];
        using var logSums = Graph.Needs(inputs) ? AllocateLike([.. batch.Span, Shape[-2]]) : null;
        if (scores.Elements == 0)
            y.FillInPlace(0);
        else
            Attend(this, key, value, mask, factor, y, logSums);
        if (logSums is null)
            return y;
        bool masked = mask is not null, isEmpty = scores.Elements == 0;
        return Graph.Record(Operation, y, inputs, [.. inputs, y, logSums], (g, c) =>
            isEmpty || c.CreatesGraph || (masked && c.Needs(3)) ? ComposedGradients(c, g, factor, masked) : FusedGradients(c, g, factor, masked), Autocast.Current, castSaved: 3);

        static Shape BatchOf(Tensor x) => new(x.Shape.Span[..^2]);
    }

    private static void Attend(Tensor query, Tensor key, Tensor value, Tensor? mask, double scale, Tensor y, Tensor? logSums)
    {
        using Operand q = new(query), k = new(key), v = new(value);
        using var operands = new AttentionOperands(y, q.Tensor, k.Tensor, v.Tensor, mask);
        foreach (var (shape, inputs, _, at) in operands.Launches(scale))
            Kernels.Attention.Forward(y.Device.Compute, shape, inputs, operands.Part(y, at), logSums is null ? null : operands.Part(logSums, at));
    }

    /// <summary>Block by block, from what forward kept.</summary>
    private static Tensor?[] FusedGradients(BackwardContext c, Tensor gradient, double scale, bool masked)
    {
        Tensor query = c[0], key = c[1], value = c[2], y = c[masked ? 4 : 3], logSums = c[masked ? 5 : 4];
        Tensor? Wanted(int input, Tensor x) => c.Needs(input) ? y.AllocateLike([.. y.Shape.Span[..^2], .. x.Shape.Span[^2..]]) : null;
        Tensor? ofQuery = Wanted(0, query), ofKey = Wanted(1, key), ofValue = Wanted(2, value);
        using var products = y.AllocateLike(logSums.Shape);
        using Operand q = new(query), k = new(key), v = new(value), g = new(gradient);
        using var operands = new AttentionOperands(y, q.Tensor, k.Tensor, v.Tensor, masked ? c[3] : null, g.Tensor);
        foreach (var (shape, inputs, incoming, at) in operands.Launches(scale))
        {
            Slice sums = operands.Part(logSums, at), own = operands.Part(products, at);
            Kernels.Attention.RowProducts(y.Device.Compute, shape, operands.Part(y, at), incoming!.Value, own);
            Kernels.Attention.Backward(
                y.Device.Compute, shape, inputs, incoming.Value, sums, own, operands.PartOrNull(ofQuery, at), operands.PartOrNull(ofKey, at), operands.PartOrNull(ofValue, at));
        }
        var parts = new[] { ofQuery?.SumTo(query.Shape), ofKey?.SumTo(key.Shape), ofValue?.SumTo(value.Shape) };
        return masked ? [.. parts, null] : parts;
    }

    /// <summary>In recorded operators over all scores.</summary>
    private static Tensor?[] ComposedGradients(BackwardContext c, Tensor gradient, double scale, bool masked)
    {
        Tensor query = c[0], key = c[1], value = c[2];
        var scores = query.MatMul(key.Transpose()) * scale;
        var weights = (masked ? scores + c[3] : scores).Softmax();
        var byWeights = gradient.MatMul(value.Transpose());
        var byScores = weights * (byWeights - (byWeights * weights).Sum([-1], keepDim: true));
        Tensor?[] parts =
        [
            c.Needs(0) ? (byScores.MatMul(key) * scale).SumTo(query.Shape) : null,
            c.Needs(1) ? (byScores.Transpose().MatMul(query) * scale).SumTo(key.Shape) : null,
            c.Needs(2) ? weights.Transpose().MatMul(gradient).SumTo(value.Shape) : null,
        ];
        return masked ? [.. parts, c.Needs(3) ? byScores.SumTo(c[3].Shape) : null] : parts;
    }

    /// <summary>Operands of attention, laid over the batch axes of its output: two axes are one launch, what more there are is several.</summary>
    private readonly struct AttentionOperands : IDisposable
    {
        private readonly Tensor?[] operands;
        private readonly StridedLayout layout;
        private readonly int l, s, e, v;

        /// <param name="y">The output.</param>
        /// <param name="operands">Query, key, value, mask, and the output's gradient; copied where a row's elements don't lie side by side.</param>
        public AttentionOperands(Tensor y, params ReadOnlySpan<Tensor?> operands)
        {
            this.operands = new Tensor?[operands.Length];
            var batch = new Shape(y.Shape.Span[..^2]);
            var steps = new int[operands.Length][];
            Shape scores = [y.Shape[-2], operands[1]!.Shape[-2]];
            for (int i = 0; i < operands.Length; i++)
            {
                if (operands[i] is not { } given)
                {
                    steps[i] = new int[batch.Rank];
                    continue;
                }
                using var rows = Rows(given);
                // Masks may lack axes, and repeat rows and columns.
                var x = this.operands[i] = i == 3 ? Expanded(rows, Shape.Broadcast("ScaledDotProductAttention (mask)", rows.Shape, scores)) : rows.Alias();
                steps[i] = BatchSteps(x, batch);
            }
            layout = new StridedLayout(batch.Span, steps);
            (l, s, e, v) = (y.Shape[-2], scores[-1], operands[0]!.Shape[-1], y.Shape[-1]);
        }

        /// <summary>The shape, inputs and gradient of each launch, and where its part of the batch begins.</summary>
        public IEnumerable<(AttentionShape Shape, AttentionInputs Inputs, AttentionOperand? Gradient, (int First, int Count) Part)> Launches(double scale)
        {
            int outer = layout.Size(2), inner = layout.Size(3), above = layout.Size(0) * layout.Size(1);
            var shape = new AttentionShape(outer, inner, l, s, e, v, scale);
            for (int i = 0; i < layout.Outer * above; i++)
            {
                var inputs = new AttentionInputs(Operand(0, i)!.Value, Operand(1, i)!.Value, Operand(2, i)!.Value, Operand(3, i));
                yield return (shape, inputs, operands.Length > 4 ? Operand(4, i) : null, (i * shape.Batch, shape.Batch));
            }
        }

        /// <summary>A launch's part of a dense tensor over the batch.</summary>
        public Slice Part(Tensor x, (int First, int Count) part)
        {
            int size = x.Elements / (layout.Outer * layout.Count);
            return x.Slice with { Offset = x.Offset + part.First * size, Length = part.Count * size };
        }

        public Slice? PartOrNull(Tensor? x, (int First, int Count) part) => x is null ? null : Part(x, part);

        public void Dispose()
        {
            foreach (var operand in operands)
                operand?.Dispose();
        }

        private AttentionOperand? Operand(int operand, int launch)
        {
            if (operands[operand] is not { } x)
                return null;
            int above = layout.Size(0) * layout.Size(1), rest = launch % above;
            var strides = layout.Strides(operand);
            int offset = layout.OuterOffset(operand, launch / above) + strides.Row(rest / layout.Size(1), rest % layout.Size(1), 0);
            var slice = x.Slice;
            return new(slice with { Offset = slice.Offset + offset, Length = slice.Length - offset }, strides.S2, strides.S3, x.Strides[^2], x.Strides[^1]);
        }

        /// <summary>An alias whose rows' elements lie side by side, or a copy.</summary>
        private static Tensor Rows(Tensor x) => x.IsContiguous || x.Shape[-1] <= 1 || x.Strides[^1] == 1 ? x.Alias() : x.ContiguousAlias();

        private static Tensor Expanded(Tensor x, Shape shape) => x.View(shape, x.BroadcastStrides(shape), x.Offset);
    }
}
