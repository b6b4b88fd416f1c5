using System.Numerics;
using System.Runtime.InteropServices;

namespace TransferEngine.Adaptation;

/// <summary>Sums over short vectors on the host, for solvers that go row by row.</summary>
internal static class VectorMath
{
    public static double Dot(ReadOnlySpan<double> a, ReadOnlySpan<double> b)
    {
        var x = MemoryMarshal.Cast<double, Vector<double>>(a);
        var y = MemoryMarshal.Cast<double, Vector<double>>(b);
        var sums = Vector<double>.Zero;
        for (int i = 0; i < x.Length; i++)
            sums += x[i] * y[i];
        double sum = Vector.Sum(sums);
        for (int i = x.Length * Vector<double>.Count; i < a.Length; i++)
            sum += a[i] * b[i];
        return sum;
    }

    /// <summary>to += times what.</summary>
    public static void Add(Span<double> to, ReadOnlySpan<double> what, double times)
    {
        var x = MemoryMarshal.Cast<double, Vector<double>>(to);
        var y = MemoryMarshal.Cast<double, Vector<double>>(what);
        var factor = new Vector<double>(times);
        for (int i = 0; i < x.Length; i++)
            x[i] += factor * y[i];
        for (int i = x.Length * Vector<double>.Count; i < to.Length; i++)
            to[i] += times * what[i];
    }
}
