using TransferEngine.Kernels;

namespace TransferEngine;

/// <summary>Matrix products.</summary>
public sealed partial class Tensor
{
    /// <summary>Multiplies matrices: the last two axes are rows and columns, those before them batch axes that broadcast. Transposed views are read as they are.</summary>
    /// <param name="other">[..., K, N] for this [..., M, K]. A tensor of one axis is a row [1, K] on the left and a column [K, 1] on the right, and the result lacks that axis.</param>
    /// <returns>[..., M, N].</returns>
    /// <exception cref="ShapeException">The inner sizes differ, the batch axes do not broadcast, or an operand is a scalar.</exception>
    /// <remarks>Gradient: of the left operand g otherᵀ, of the right thisᵀ g, each summed over the batch axes that it was repeated on. Under <see cref="Autocast"/> in 16 bits.</remarks>
    public Tensor MatMul(Tensor other)
    {
        ArgumentNullException.ThrowIfNull(other);
        Check.Alike("MatMul", this, other);
        Check.That(Rank > 0 && other.Rank > 0, $"MatMul: {Shape} x {other.Shape}: a scalar is no matrix. Multiply with *.");
        int inner = Shape[-1], otherInner = other.Shape[other.Rank == 1 ? 0 : -2];
        Check.That(inner == otherInner, $"MatMul: {Shape} x {other.Shape}: inner sizes differ ({inner}, {otherInner}).{Hint(other)}");
        var a = Rank == 1 ? Unsqueeze(0) : this;
        var b = other.Rank == 1 ? other.Unsqueeze(1) : other;
        // One matrix on the right serves the rows of all batches: they are the rows of one product.
        bool folds = b.Rank == 2 && a.Rank > 2;
        var y = folds ? a.Reshape(RowsOf(a.Shape), inner).Product(b) : a.Product(b);
        if (folds || Rank == 1 || other.Rank == 1)
        {
            var sizes = new List<int>((folds ? a.Shape : y.Shape).ToArray()[..^2]);
            if (Rank > 1)
                sizes.Add(a.Shape[-2]);
            if (other.Rank > 1)
                sizes.Add(b.Shape[-1]);
            y = y.Reshape([.. sizes]);
        }
        return y;
    }

    /// <summary><see cref="MatMul"/> without <see cref="Autocast"/>: what losses and statistics are made of.</summary>
    internal Tensor MatMulInFull(Tensor other)
    {
        using var full = new Autocast(ElementType.Float32);
        return MatMul(other);
    }

    /// <summary>Sums the products of the elements of two vectors.</summary>
    /// <param name="other">[N] for this [N].</param>
    /// <returns>A scalar; never rounded by <see cref="Autocast"/>.</returns>
    /// <exception cref="ShapeException">They are no vectors of one length.</exception>
    public Tensor Dot(Tensor other)
    {
        ArgumentNullException.ThrowIfNull(other);
        Check.That(Rank == 1 && Shape == other.Shape, $"Dot: {Shape} and {other.Shape} are no vectors of one length. Use MatMul for matrices.");
        return MatMulInFull(other);
    }

    /// <summary>Multiplies each element of one vector with each of another.</summary>
    /// <param name="other">[N] for this [M].</param>
    /// <returns>[M, N].</returns>
    /// <exception cref="ShapeException">One of them is no vector.</exception>
    public Tensor Outer(Tensor other)
    {
        ArgumentNullException.ThrowIfNull(other);
        Check.Rank("Outer", "the left operand", this, 1, "[M]");
        Check.Rank("Outer", "the right operand", other, 1, "[N]");
        return Unsqueeze(1) * other;
    }

    /// <summary>The product of operands of two axes or more.</summary>
    private Tensor Product(Tensor b)
    {
        if (Rank == 2 && b.Rank == 2)
        {
            var matrix = AllocateLike([Shape[0], b.Shape[1]]);
            if (matrix.Elements > 0)
            {
                using Operand left = new(this), right = new(b);
                Kernels.MatMul.Run(Device.Compute, Sizes(1, Shape[0], b.Shape[1], Shape[1]), MatrixOf(left.Tensor), MatrixOf(right.Tensor), matrix.Slice);
            }
            return Graph.Record("MatMul", matrix, [this, b], [this, b], static (g, c) =>
                [c.Needs(0) ? g.Product(c[1].Transpose()) : null, c.Needs(1) ? c[0].Transpose().Product(g) : null], Autocast.Current);
        }
        ReadOnlySpan<int> rows = Shape.Span, columns = b.Shape.Span;
        var batch = Shape.Broadcast("MatMul (batch axes)", new Shape(rows[..^2]), new Shape(columns[..^2]));
        var y = AllocateLike(new Shape([.. batch.Span, rows[^2], columns[^1]]));
        if (y.Elements > 0)
        {
            using Operand left = new(this), right = new(b);
            Multiply(left.Tensor, right.Tensor, batch, y);
        }
        return Graph.Needs(this, b) ? Recorded(b, y) : y;
    }

    private Tensor Recorded(Tensor b, Tensor y)
    {
        var (sa, sb) = (Shape, b.Shape);
        return Graph.Record("MatMul", y, [this, b], [this, b], (g, c) =>
        [
            c.Needs(0) ? g.Product(c[1].Transpose()).SumTo(sa) : null,
            c.Needs(1) ? c[0].Transpose().Product(g).SumTo(sb) : null,
        ], Autocast.Current);
    }

    /// <summary>The sizes of a product, and what <see cref="Autocast"/> made of its operands.</summary>
    private static MatMulShape Sizes(int batch, int m, int n, int k) => new(batch, m, n, k) { Operands = Autocast.Current };

    /// <summary>A tensor of two axes as the kernels see it.</summary>
    private static Matrix MatrixOf(Tensor x)
    {
        // A contiguous one without asking for its strides, which are made when they are.
        var (row, column) = x.IsContiguous ? (Math.Max(1, x.Shape[1]), 1) : (x.strides![0], x.strides[1]);
        return new(x.Slice, row, column, 0);
    }

    /// <summary>Launches the product for the batch axes that both operands walk through with one stride, once for each place of the axes before them.</summary>
    private static void Multiply(Tensor a, Tensor b, Shape batch, Tensor y)
    {
        int m = a.Shape[-2], k = a.Shape[-1], n = b.Shape[-1];
        int[] sa = a.Strides, sb = b.Strides;
        int[] aSteps = BatchSteps(a, batch), bSteps = BatchSteps(b, batch);
        int count = 1, split = batch.Rank, aStep = 0, bStep = 0;
        for (; split > 0; split--)
        {
            int axis = split - 1, size = batch[axis];
            if (size == 1)
                continue;
            if (count == 1)
                (aStep, bStep) = (aSteps[axis], bSteps[axis]);
            else if (aSteps[axis] != aStep * count || bSteps[axis] != bStep * count)
                break;
            count *= size;
        }
        int outer = 1;
        for (int axis = 0; axis < split; axis++)
            outer *= batch[axis];
        for (int i = 0; i < outer; i++)
        {
            int ia = a.Offset, ib = b.Offset;
            for (int axis = split - 1, rest = i; axis >= 0; rest /= batch[axis--])
                (ia, ib) = (ia + rest % batch[axis] * aSteps[axis], ib + rest % batch[axis] * bSteps[axis]);
            Kernels.MatMul.Run(
                y.Device.Compute, Sizes(count, m, n, k), new(a.Slice with { Offset = ia }, sa[^2], sa[^1], aStep), new(b.Slice with { Offset = ib }, sb[^2], sb[^1], bStep),
                y.Slice with { Offset = y.Offset + i * count * m * n, Length = count * m * n });
        }
    }

    /// <summary>Strides over the batch axes of a product: 0 where this operand is repeated.</summary>
    private static int[] BatchSteps(Tensor x, Shape batch)
    {
        var steps = new int[batch.Rank];
        var own = x.Strides;
        for (int axis = 0, first = batch.Rank - (x.Rank - 2); axis < x.Rank - 2; axis++)
            steps[first + axis] = x.Shape[axis] == 1 ? 0 : own[axis];
        return steps;
    }

    private static int RowsOf(Shape shape)
    {
        int rows = 1;
        for (int axis = 0; axis < shape.Rank - 1; axis++)
            rows *= shape[axis];
        return rows;
    }

    private string Hint(Tensor other) =>
        Rank > 1 && Shape[-2] == other.Shape[other.Rank == 1 ? 0 : -2] ? " Transpose the left operand?"
        : other.Rank > 1 && Shape[-1] == other.Shape[-1] ? " Transpose the right operand?"
        : " The columns of the left operand meet the rows of the right one.";
}
