using System.Runtime.CompilerServices;
using ILGPU;

namespace TransferEngine.Kernels;

/// <summary>How one element becomes another type's.</summary>
internal interface IConversion<TFrom, TTo>
{
    static abstract TTo Convert(TFrom x);
}

/// <summary>Converts between element types. Towards integers it cuts the fraction; what no Int32 holds becomes the nearest one, NaN 0.</summary>
internal readonly struct Conversion : IConversion<float, double>, IConversion<double, float>, IConversion<float, int>, IConversion<double, int>, IConversion<int, float>, IConversion<int, double>
{
    static double IConversion<float, double>.Convert(float x) => x;

    static float IConversion<double, float>.Convert(double x) => (float)x;

    static int IConversion<float, int>.Convert(float x) => Cut(x);

    static int IConversion<double, int>.Convert(double x) => x >= 2147483647d ? int.MaxValue : x <= -2147483648d ? int.MinValue : double.IsNaN(x) ? 0 : (int)x;

    static float IConversion<int, float>.Convert(int x) => x;

    static double IConversion<int, double>.Convert(int x) => x;

    /// <summary>A float's integer.</summary>
    public static int Cut(float x) => x >= 2147483648f ? int.MaxValue : x <= -2147483648f ? int.MinValue : float.IsNaN(x) ? 0 : (int)x;

    /// <summary>y = x in y's type; contiguous, of one length.</summary>
    public static void Run(ComputeDevice device, in Slice x, in Slice y)
    {
        switch (x.Type, y.Type)
        {
            case (ElementType.Float32, ElementType.Float64): Run<float, double, float, Conversion>(device, x, y); break;
            case (ElementType.Float64, ElementType.Float32): Run<double, float, float, Conversion>(device, x, y); break;
            case (ElementType.Float32, ElementType.Int32): Run<float, int, float, Conversion>(device, x, y); break;
            case (ElementType.Float64, ElementType.Int32): Run<double, int, double, Conversion>(device, x, y); break;
            case (ElementType.Int32, ElementType.Float32): Run<int, float, float, Conversion>(device, x, y); break;
            case (ElementType.Int32, ElementType.Float64): Run<int, double, double, Conversion>(device, x, y); break;
            case var (from, to) when from == to: device.CopyWithin(x, y); break;
            default: Narrowing.Run(device, x, y); break;
        }
    }

    /// <summary>y = C(x), element by element.</summary>
    public static void Run<TFrom, TTo, T, C>(ComputeDevice device, in Slice x, in Slice y)
        where TFrom : unmanaged where TTo : unmanaged where T : unmanaged where C : struct, IConversion<TFrom, TTo>
    {
        int chunk = device.ChunkOf(y.Length);
        device.Launch<T, ConversionKernel<TFrom, TTo, T, C>>((y.Length + chunk - 1) / chunk, new(x.View<TFrom>(), y.View<TTo>(), chunk, y.Length));
    }
}

/// <summary>One work item: <c>chunk</c> elements.</summary>
internal readonly struct ConversionKernel<TFrom, TTo, T, C>(ArrayView<TFrom> x, ArrayView<TTo> y, int chunk, int n) : IKernel<T>
    where TFrom : unmanaged where TTo : unmanaged where T : unmanaged where C : struct, IConversion<TFrom, TTo>
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public void Execute<L>(int item) where L : unmanaged, ILane<L, T>
    {
        var (source, destination) = (x, y);
        for (int i = item * chunk; i < Math.Min(item * chunk + chunk, n); i++)
            L.At(destination, i) = C.Convert(L.At(source, i));
    }
}
