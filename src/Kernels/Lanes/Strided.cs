using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.Arm;
using System.Runtime.Intrinsics.X86;

namespace TransferEngine.Kernels;

/// <summary>Takes numbers that lie a stride apart, or adds to them, on the CPU's direct path; neighbours, and floats taken at a stride of two, through registers.</summary>
internal static unsafe class Strided
{
    /// <summary>to[i] = from[i * stride] for 0 &lt;= i &lt; count.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Pick<T>(T* from, int stride, T* to, int count) where T : unmanaged
    {
        int i = 0;
        if (stride == 1)
        {
            if (Vector512.IsHardwareAccelerated)
            {
                for (; i <= count - Vector512<T>.Count; i += Vector512<T>.Count)
                    Vector512.Load(from + i).Store(to + i);
            }
            for (; i <= count - Vector256<T>.Count; i += Vector256<T>.Count)
                Vector256.Load(from + i).Store(to + i);
            for (; i <= count - Vector128<T>.Count; i += Vector128<T>.Count)
                Vector128.Load(from + i).Store(to + i);
        }
        else if (typeof(T) == typeof(float) && stride == 2 && (Sse.IsSupported || AdvSimd.Arm64.IsSupported))
        {
            // The last number is read alone: there may be none after it.
            for (; i < count - 4; i += 4)
                Even(Vector128.Load((float*)from + 2 * i), Vector128.Load((float*)from + 2 * i + 4)).Store((float*)to + i);
        }
        for (; i < count; i++)
            to[i] = from[i * stride];
    }

    /// <summary>to[i * stride] += from[i] for 0 &lt;= i &lt; count.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Add<T>(T* from, T* to, int stride, int count) where T : unmanaged
    {
        int i = 0;
        if (stride == 1)
        {
            for (; i <= count - Vector256<T>.Count; i += Vector256<T>.Count)
                (Vector256.Load(to + i) + Vector256.Load(from + i)).Store(to + i);
            for (; i <= count - Vector128<T>.Count; i += Vector128<T>.Count)
                (Vector128.Load(to + i) + Vector128.Load(from + i)).Store(to + i);
        }
        for (; i < count; i++)
            to[i * stride] = (Vector128.CreateScalar(to[i * stride]) + Vector128.CreateScalar(from[i])).ToScalar();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<float> Even(Vector128<float> a, Vector128<float> b) => Sse.IsSupported ? Sse.Shuffle(a, b, 0x88) : AdvSimd.Arm64.UnzipEven(a, b);
}
