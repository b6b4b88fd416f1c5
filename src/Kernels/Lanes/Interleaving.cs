using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.Arm;
using System.Runtime.Intrinsics.X86;

namespace TransferEngine.Kernels;

/// <summary>Takes apart and puts together runs of numbers that lie a stride apart, on the CPU's direct path; floats at a stride of two through registers.</summary>
internal static unsafe class Interleaving
{
    /// <summary>to[i] = from[i * stride] for 0 &lt;= i &lt; count.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Pick<T>(T* from, int stride, T* to, int count) where T : unmanaged
    {
        int i = 0;
        if (typeof(T) == typeof(float) && stride == 2 && (Sse.IsSupported || AdvSimd.Arm64.IsSupported))
        {
            // The last number is read alone: there may be none after it.
            for (; i < count - 4; i += 4)
                Even(Vector128.Load((float*)from + 2 * i), Vector128.Load((float*)from + 2 * i + 4)).Store((float*)to + i);
        }
        for (; i < count; i++)
            to[i] = from[i * stride];
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<float> Even(Vector128<float> a, Vector128<float> b) => Sse.IsSupported ? Sse.Shuffle(a, b, 0x88) : AdvSimd.Arm64.UnzipEven(a, b);
}
