using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace TransferEngine.Kernels;

/// <summary>Takes numbers to 16 bits and back. Between them and float32 the CPU has vector code, eight numbers at once; all else is <see cref="Conversion"/>'s kernel.</summary>
internal static class Narrowing
{
    /// <summary>y = x in y's type, where either is of 16 bits; contiguous, of one length.</summary>
    public static void Run(ComputeDevice device, in Slice x, in Slice y)
    {
        switch (x.Type, y.Type)
        {
            case (ElementType.Float16, ElementType.BFloat16): Conversion.Run<ushort, ushort, float, Renarrowed<Float16Bits, BFloat16Bits>>(device, x, y); break;
            case (ElementType.BFloat16, ElementType.Float16): Conversion.Run<ushort, ushort, float, Renarrowed<BFloat16Bits, Float16Bits>>(device, x, y); break;
            case (ElementType.Float16, _): Widen<Float16Bits>(device, x, y); break;
            case (ElementType.BFloat16, _): Widen<BFloat16Bits>(device, x, y); break;
            case (_, ElementType.Float16): Round<Float16Bits>(device, x, y); break;
            default: Round<BFloat16Bits>(device, x, y); break;
        }
    }

    /// <summary>y = x rounded to a type of 16 bits; both are float32, contiguous, of one length, and may be the same.</summary>
    public static void RoundTo(ComputeDevice device, ElementType type, in Slice x, in Slice y)
    {
        if (type == ElementType.Float16)
            RoundTo<Float16Bits>(device, x, y);
        else
            RoundTo<BFloat16Bits>(device, x, y);
    }

    private static unsafe void Widen<N>(ComputeDevice device, in Slice x, in Slice y) where N : struct, INarrow
    {
        if (y.Type == ElementType.Float64)
            Conversion.Run<ushort, double, double, Narrow<N>>(device, x, y);
        else if (y.Type == ElementType.Int32)
            Conversion.Run<ushort, int, float, Narrow<N>>(device, x, y);
        else if (device.IsDirect)
            Share(device, y.Length, new Widening<N>(x.Pointer<ushort>(), y.Pointer<float>(), device.ChunkOf(y.Length), y.Length));
        else
            Conversion.Run<ushort, float, float, Narrow<N>>(device, x, y);
    }

    private static unsafe void Round<N>(ComputeDevice device, in Slice x, in Slice y) where N : struct, INarrow
    {
        if (x.Type == ElementType.Float64)
            Conversion.Run<double, ushort, double, Narrow<N>>(device, x, y);
        else if (x.Type == ElementType.Int32)
            Conversion.Run<int, ushort, float, Narrow<N>>(device, x, y);
        else if (device.IsDirect)
            Share(device, y.Length, new Rounding<N>(x.Pointer<float>(), y.Pointer<ushort>(), device.ChunkOf(y.Length), y.Length));
        else
            Conversion.Run<float, ushort, float, Narrow<N>>(device, x, y);
    }

    private static unsafe void RoundTo<N>(ComputeDevice device, in Slice x, in Slice y) where N : struct, INarrow
    {
        if (device.IsDirect)
            Share(device, y.Length, new RoundedInPlace<N>(x.Pointer<float>(), y.Pointer<float>(), device.ChunkOf(y.Length), y.Length));
        else
            Conversion.Run<float, float, float, Narrow<N>>(device, x, y);
    }

    private static void Share<W>(ComputeDevice device, int n, W work) where W : struct, IWork
    {
        int chunk = device.ChunkOf(n);
        device.RunWork((n + chunk - 1) / chunk, ref work);
    }

    /// <summary>One work item: <c>chunk</c> numbers of 16 bits to float32.</summary>
    private readonly unsafe struct Widening<N>(ushort* x, float* y, int chunk, int n) : IWork where N : struct, INarrow
    {
        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        public void Execute(int item)
        {
            int i = item * chunk, end = Math.Min(i + chunk, n);
            for (; i + 16 <= end; i += 16)
            {
                var (low, high) = Vector256.Widen(Vector256.Load(x + i));
                N.Widen(low).AsSingle().Store(y + i);
                N.Widen(high).AsSingle().Store(y + i + 8);
            }
            for (; i < end; i++)
                y[i] = Narrow.Single(N.Widen(x[i]));
        }
    }

    /// <summary>One work item: <c>chunk</c> numbers of float32 to 16 bits.</summary>
    private readonly unsafe struct Rounding<N>(float* x, ushort* y, int chunk, int n) : IWork where N : struct, INarrow
    {
        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        public void Execute(int item)
        {
            int i = item * chunk, end = Math.Min(i + chunk, n);
            for (; i + 16 <= end; i += 16)
                Vector256.Narrow(N.Round(Vector256.Load(x + i).AsUInt32()), N.Round(Vector256.Load(x + i + 8).AsUInt32())).Store(y + i);
            for (; i < end; i++)
                y[i] = (ushort)N.Round(Narrow.Bits(x[i]));
        }
    }

    /// <summary>One work item: <c>chunk</c> numbers of float32 rounded to 16 bits, as float32.</summary>
    private readonly unsafe struct RoundedInPlace<N>(float* x, float* y, int chunk, int n) : IWork where N : struct, INarrow
    {
        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        public void Execute(int item)
        {
            int i = item * chunk, end = Math.Min(i + chunk, n);
            for (; i + 8 <= end; i += 8)
                N.Widen(N.Round(Vector256.Load(x + i).AsUInt32())).AsSingle().Store(y + i);
            for (; i < end; i++)
                y[i] = Narrow.Single(N.Widen(N.Round(Narrow.Bits(x[i]))));
        }
    }
}
