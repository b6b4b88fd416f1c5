namespace TransferEngine.Conformance;

/// <summary>A plain array of doubles with a shape: what references are written in, slow and beyond doubt.</summary>
internal sealed class NdArray(int[] shape, double[] values)
{
    public NdArray(params int[] shape) : this(shape, new double[shape.Aggregate(1, (a, b) => a * b)])
    {
    }

    public int[] Shape { get; } = shape;

    public double[] Values { get; } = values;

    public int Rank => Shape.Length;

    public double this[params int[] index] { get => Values[Position(index)]; set => Values[Position(index)] = value; }

    public NdArray Map(Func<double, double> f) => new(Shape, Array.ConvertAll(Values, v => f(v)));

    /// <summary>f over two arrays that broadcast.</summary>
    public NdArray Zip(NdArray other, Func<double, double, double> f)
    {
        int rank = Math.Max(Rank, other.Rank);
        var sizes = new int[rank];
        for (int i = 1; i <= rank; i++)
        {
            int x = i <= Rank ? Shape[^i] : 1, y = i <= other.Rank ? other.Shape[^i] : 1;
            sizes[^i] = x == 1 ? y : x;
        }
        return Build(sizes, index => f(Broadcast(index), other.Broadcast(index)));
    }

    /// <summary>The array whose element at each index is f(index).</summary>
    public static NdArray Build(int[] shape, Func<int[], double> f)
    {
        var result = new NdArray(shape);
        int position = 0;
        foreach (var index in Indices(shape))
            result.Values[position++] = f(index);
        return result;
    }

    /// <summary>All indices of a shape, the last axis fastest. The same array is handed out again: copy what you keep.</summary>
    public static IEnumerable<int[]> Indices(int[] shape)
    {
        int count = shape.Aggregate(1, (a, b) => a * b);
        var index = new int[shape.Length];
        for (int i = 0; i < count; i++)
        {
            yield return index;
            for (int axis = shape.Length - 1; axis >= 0; axis--)
            {
                if (++index[axis] < shape[axis])
                    break;
                index[axis] = 0;
            }
        }
    }

    /// <summary>The element that a larger index sees when this array is broadcast.</summary>
    public double Broadcast(int[] index)
    {
        int position = 0;
        for (int axis = 0; axis < Rank; axis++)
            position = position * Shape[axis] + (Shape[axis] == 1 ? 0 : index[index.Length - Rank + axis]);
        return Values[position];
    }

    private int Position(int[] index)
    {
        int position = 0;
        for (int axis = 0; axis < Rank; axis++)
            position = position * Shape[axis] + index[axis];
        return position;
    }
}
