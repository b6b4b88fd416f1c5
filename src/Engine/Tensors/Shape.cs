using System.Collections;
using System.Runtime.CompilerServices;

namespace TransferEngine;

/// <summary>The sizes of a tensor's axes, outermost first. A scalar has none. Written as a collection: <c>[2, 3]</c>.</summary>
[CollectionBuilder(typeof(Shape), nameof(Create))]
public readonly struct Shape : IReadOnlyList<int>, IEquatable<Shape>
{
    private readonly int[]? sizes;

    /// <param name="sizes">The sizes, each 0 or more; their product is at most 2,147,483,647.</param>
    /// <exception cref="ShapeException">A size is negative, or there are too many elements.</exception>
    public Shape(params ReadOnlySpan<int> sizes)
    {
        this.sizes = sizes.ToArray();
        Elements = CountElements(sizes);
    }

    private Shape(int[] owned)
    {
        sizes = owned;
        Elements = CountElements(owned);
    }

    /// <summary>The number of axes.</summary>
    public int Rank => sizes?.Length ?? 0;

    /// <summary>The number of elements: the product of the sizes, 1 for a scalar.</summary>
    public int Elements { get => sizes is null ? 1 : field; }

    int IReadOnlyCollection<int>.Count => Rank;

    /// <summary>The size of an axis; a negative one counts from the last, -1.</summary>
    /// <param name="axis">From -<see cref="Rank"/> to <see cref="Rank"/> - 1.</param>
    public int this[int axis] => Span[Axis(axis)];

    internal ReadOnlySpan<int> Span => sizes;

    /// <summary>Makes a shape of sizes: what a collection expression calls.</summary>
    /// <param name="sizes">The sizes.</param>
    public static Shape Create(ReadOnlySpan<int> sizes) => new(sizes);

    /// <summary>An array of sizes is a shape.</summary>
    /// <param name="sizes">The sizes.</param>
    public static implicit operator Shape(int[] sizes) => new(sizes.AsSpan());

    /// <summary>Whether both have the same sizes.</summary>
    public static bool operator ==(Shape a, Shape b) => a.Equals(b);

    /// <summary>Whether a size differs.</summary>
    public static bool operator !=(Shape a, Shape b) => !a.Equals(b);

    /// <summary>The shape that two broadcast to: aligned at the last axis, sizes equal or one of them 1.</summary>
    /// <param name="operation">The operator, for the message.</param>
    /// <param name="a">One shape.</param>
    /// <param name="b">The other.</param>
    /// <exception cref="ShapeException">Two aligned sizes differ and neither is 1.</exception>
    public static Shape Broadcast(string operation, Shape a, Shape b)
    {
        if (a == b)
            return a;
        var result = new int[Math.Max(a.Rank, b.Rank)];
        for (int i = 1; i <= result.Length; i++)
        {
            int x = i <= a.Rank ? a.Span[^i] : 1, y = i <= b.Rank ? b.Span[^i] : 1;
            if (x != y && x != 1 && y != 1)
                throw new ShapeException($"{operation}: {a} and {b} do not broadcast: sizes {x} and {y} on axis {result.Length - i} differ and neither is 1.");
            result[^i] = x == 1 ? y : x;
        }
        return new Shape(result);
    }

    /// <summary>The axis counted from the first.</summary>
    /// <param name="axis">From -<see cref="Rank"/> to <see cref="Rank"/> - 1.</param>
    /// <exception cref="ShapeException">There is no such axis.</exception>
    public int Axis(int axis) => axis >= -Rank && axis < Rank
        ? axis < 0 ? axis + Rank : axis
        : throw new ShapeException($"Axis {axis} is not there: {this} has {Rank} axes, {-Rank} to {Rank - 1}.");

    /// <summary>The sizes as a new array.</summary>
    public int[] ToArray() => sizes is null ? [] : [.. sizes];

    /// <inheritdoc/>
    public bool Equals(Shape other) => Span.SequenceEqual(other.Span);

    /// <inheritdoc/>
    public override bool Equals(object? obj) => obj is Shape other && Equals(other);

    /// <inheritdoc/>
    public override int GetHashCode()
    {
        var hash = new HashCode();
        foreach (int size in Span)
            hash.Add(size);
        return hash.ToHashCode();
    }

    /// <summary>The sizes in brackets, such as [2, 3].</summary>
    public override string ToString() => $"[{string.Join(", ", sizes ?? [])}]";

    /// <inheritdoc/>
    public IEnumerator<int> GetEnumerator() => ((IEnumerable<int>)(sizes ?? [])).GetEnumerator();

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();

    /// <summary>Takes the array as it is; for arrays that nobody else holds.</summary>
    internal static Shape Owning(int[] sizes) => new(sizes);

    /// <summary>The strides of a contiguous tensor of this shape, in elements.</summary>
    internal int[] ContiguousStrides()
    {
        var strides = new int[Rank];
        for (int axis = Rank - 1, step = 1; axis >= 0; axis--)
        {
            strides[axis] = step;
            step *= Math.Max(1, Span[axis]);
        }
        return strides;
    }

    /// <summary>This shape with one axis of another size.</summary>
    internal Shape With(int axis, int size)
    {
        var result = ToArray();
        result[Axis(axis)] = size;
        return Owning(result);
    }

    private static int CountElements(ReadOnlySpan<int> sizes)
    {
        long count = 1;
        bool empty = false;
        foreach (int size in sizes)
        {
            if (size < 0)
                throw new ShapeException($"[{string.Join(", ", sizes.ToArray())}] is no shape: size {size} is negative.");
            empty |= size == 0;
            count = Math.Min(count * Math.Max(size, 1), int.MaxValue + 1L);
        }
        return empty ? 0
            : count <= int.MaxValue ? (int)count
            : throw new ShapeException($"[{string.Join(", ", sizes.ToArray())}] has more than {int.MaxValue:N0} elements, the most that one tensor holds. Split it.");
    }
}
