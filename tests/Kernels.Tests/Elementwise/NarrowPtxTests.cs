using System.Runtime.InteropServices;
using ILGPU.Backends.PTX;
using ILGPU.Runtime.Cuda;

namespace TransferEngine.Kernels.Tests;

/// <summary>The PTX of the conversions from and to 16 bits, run by <see cref="PtxMachine"/>, gives what the base library, or the definition, gives.</summary>
public class NarrowPtxTests
{
    private const int Count = 65536, Threads = 32, Chunk = Count / Threads;

    [Theory, InlineData(true), InlineData(false)]
    public void Rounding_is_to_nearest_even(bool half)
    {
        var random = new Random(1);
        // Every sign, exponent and upper part of the fraction, with what is below it drawn, on a boundary, or beside one.
        uint[] singles = [.. Enumerable.Range(0, Count).Select(i => ((uint)i << 16) | (i % 4) switch { 0 => (uint)random.Next(65536), 1 => 0x8000u, 2 => 0x7fffu, _ => (uint)random.Next(8) << 12 })];
        ushort[] got = half
            ? Run<uint, ushort>(typeof(ConversionKernel<float, ushort, float, Narrow<Float16Bits>>), singles)
            : Run<uint, ushort>(typeof(ConversionKernel<float, ushort, float, Narrow<BFloat16Bits>>), singles);
        for (int i = 0; i < Count; i++)
        {
            float x = BitConverter.UInt32BitsToSingle(singles[i]);
            if (float.IsNaN(x))
                Assert.True(half ? Half.IsNaN(BitConverter.UInt16BitsToHalf(got[i])) : float.IsNaN(BitConverter.UInt32BitsToSingle((uint)got[i] << 16)));
            else
                Assert.Equal(half ? BitConverter.HalfToUInt16Bits((Half)x) : (ushort)PtxMachine.RoundedToBFloat16(singles[i]), got[i]);
        }
    }

    [Fact]
    public void Widening_is_exact()
    {
        ushort[] halves = [.. Enumerable.Range(0, Count).Select(i => (ushort)i)];
        float[] got = Run<ushort, float>(typeof(ConversionKernel<ushort, float, float, Narrow<Float16Bits>>), halves);
        for (int i = 0; i < Count; i++)
            Assert.Equal((float)BitConverter.UInt16BitsToHalf(halves[i]), got[i]);
    }

    private static TTo[] Run<TFrom, TTo>(Type kernel, TFrom[] values) where TFrom : unmanaged where TTo : unmanaged
    {
        using var context = ComputeDevice.CompilerContext();
        using var backend = new PTXBackend(context, CudaArchitecture.SM_80, CudaInstructionSet.ISA_78, null!);
        var source = MemoryMarshal.AsBytes<TFrom>(values);
        byte[] memory = [.. source, .. new byte[Count * Marshal.SizeOf<TTo>()]];
        using var stream = new MemoryStream();
        using (var writer = new BinaryWriter(stream))
        {
            foreach (long value in new[] { PtxMachine.GlobalBase, Count, PtxMachine.GlobalBase + source.Length, Count })
                writer.Write(value);
            writer.Write(Chunk);
            writer.Write(Count);
        }
        new PtxMachine(KernelLoader.Compile(backend, KernelLoader.Entry(kernel)).PTXAssembly, stream.ToArray(), memory, items: Threads).Run(0, Threads);
        return MemoryMarshal.Cast<byte, TTo>(memory.AsSpan(source.Length)).ToArray();
    }
}
