using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.Arm;
using System.Runtime.Intrinsics.X86;

namespace TransferEngine.Kernels;

/// <summary>Exchanges rows and columns on the CPU's direct path: floats in squares of four, doubles in squares of two that pass through registers.</summary>
internal static unsafe class Transposition
{
    /// <summary>to[p * width + i] = from[i * line + p] for 0 &lt;= i &lt; lines and 0 &lt;= p &lt; depth.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Run<T>(T* from, nint line, T* to, nint width, int lines, int depth) where T : unmanaged
    {
        int side = Vector128<T>.Count;
        if (lines >= side && depth >= side && (Sse2.IsSupported || AdvSimd.Arm64.IsSupported))
        {
            // The last square of either direction ends with the matrix, and writes what overlaps a second time.
            for (int i = 0; i < lines; i += side)
            {
                int top = Math.Min(i, lines - side), p = 0;
                T* source = from + top * line, destination = to + top;
                for (; p <= depth - side; p += side, source += side, destination += side * width)
                    Square(source, line, destination, width);
                if (p < depth)
                    Square(source - (p + side - depth), line, destination - (p + side - depth) * width, width);
            }
            return;
        }
        for (int i = 0; i < lines; i++)
            for (int p = 0; p < depth; p++)
                to[p * width + i] = from[i * line + p];
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Square<T>(T* from, nint line, T* to, nint width) where T : unmanaged
    {
        if (typeof(T) == typeof(float))
            Square((float*)from, line, (float*)to, width);
        else
            Square((double*)from, line, (double*)to, width);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Square(float* from, nint line, float* to, nint width)
    {
        var (r0, r1) = (Vector128.Load(from), Vector128.Load(from + line));
        var (r2, r3) = (Vector128.Load(from + 2 * line), Vector128.Load(from + 3 * line));
        var (low01, high01) = (Low(r0, r1).AsDouble(), High(r0, r1).AsDouble());
        var (low23, high23) = (Low(r2, r3).AsDouble(), High(r2, r3).AsDouble());
        Low(low01, low23).AsSingle().Store(to);
        High(low01, low23).AsSingle().Store(to + width);
        Low(high01, high23).AsSingle().Store(to + 2 * width);
        High(high01, high23).AsSingle().Store(to + 3 * width);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Square(double* from, nint line, double* to, nint width)
    {
        var (r0, r1) = (Vector128.Load(from), Vector128.Load(from + line));
        Low(r0, r1).Store(to);
        High(r0, r1).Store(to + width);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<float> Low(Vector128<float> a, Vector128<float> b) => Sse.IsSupported ? Sse.UnpackLow(a, b) : AdvSimd.Arm64.ZipLow(a, b);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<float> High(Vector128<float> a, Vector128<float> b) => Sse.IsSupported ? Sse.UnpackHigh(a, b) : AdvSimd.Arm64.ZipHigh(a, b);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<double> Low(Vector128<double> a, Vector128<double> b) => Sse2.IsSupported ? Sse2.UnpackLow(a, b) : AdvSimd.Arm64.ZipLow(a, b);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<double> High(Vector128<double> a, Vector128<double> b) => Sse2.IsSupported ? Sse2.UnpackHigh(a, b) : AdvSimd.Arm64.ZipHigh(a, b);
}
