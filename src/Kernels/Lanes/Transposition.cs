using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.Arm;
using System.Runtime.Intrinsics.X86;

namespace TransferEngine.Kernels;

/// <summary>Exchanges rows and columns on the CPU's direct path: floats in squares of four that pass through registers, other types one by one.</summary>
internal static unsafe class Transposition
{
    private const int Side = 4;

    /// <summary>to[p * width + i] = from[i * line + p] for 0 &lt;= i &lt; lines and 0 &lt;= p &lt; depth.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Run<T>(T* from, nint line, T* to, nint width, int lines, int depth) where T : unmanaged
    {
        if (typeof(T) == typeof(float) && lines >= Side && depth >= Side && (Sse.IsSupported || AdvSimd.Arm64.IsSupported))
        {
            // The last square of either direction ends with the matrix, and writes what overlaps a second time.
            for (int i = 0; i < lines; i += Side)
            {
                int top = Math.Min(i, lines - Side);
                float* source = (float*)(from + top * line), destination = (float*)(to + top);
                for (int p = 0; p < depth; p += Side)
                {
                    int left = Math.Min(p, depth - Side);
                    Square(source + left, line, destination + left * width, width);
                }
            }
            return;
        }
        for (int i = 0; i < lines; i++)
            for (int p = 0; p < depth; p++)
                to[p * width + i] = from[i * line + p];
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
    private static Vector128<float> Low(Vector128<float> a, Vector128<float> b) => Sse.IsSupported ? Sse.UnpackLow(a, b) : AdvSimd.Arm64.ZipLow(a, b);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<float> High(Vector128<float> a, Vector128<float> b) => Sse.IsSupported ? Sse.UnpackHigh(a, b) : AdvSimd.Arm64.ZipHigh(a, b);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<double> Low(Vector128<double> a, Vector128<double> b) => Sse2.IsSupported ? Sse2.UnpackLow(a, b) : AdvSimd.Arm64.ZipLow(a, b);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<double> High(Vector128<double> a, Vector128<double> b) => Sse2.IsSupported ? Sse2.UnpackHigh(a, b) : AdvSimd.Arm64.ZipHigh(a, b);
}
