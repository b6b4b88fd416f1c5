using ILGPU.Runtime;

namespace TransferEngine.Kernels;

/// <summary>
/// The products that are tuned for CUDA, those of convolutions among them, and the one table that chooses. They have run on no card yet, only through an interpreter of their PTX in the tests,
/// so none is chosen unless it was asked for by <see cref="ComputeDevice.MatMulPrecision"/> or <see cref="ComputeDevice.AllowTunedMatMul"/>.
/// </summary>
internal static class TunedMatMul
{
    /// <summary>The smallest size of every axis that is worth a tile.</summary>
    private const int Smallest = 16;

    /// <summary>Runs the product if a tuned variant serves it. Operands need not be matrices in memory: those of a convolution are patches of images.</summary>
    public static bool TryRun<T, A, B, O>(ComputeDevice device, in MatMulShape shape, A a, B b, O output)
        where T : unmanaged where A : struct, ITileSource<T> where B : struct, ITileSource<T> where O : struct, IOutput<T>
    {
        if (typeof(T) != typeof(float) || !device.HasAsynchronousCopies || shape.M < Smallest || shape.N < Smallest || shape.K < Smallest)
            return false;
        switch (Precision(device.MatMulPrecision, device.AllowTunedMatMul, shape.Operands))
        {
            case MatMulPrecision.Float32 when device.AllowTunedMatMul:
                Staged<T, ScalarVariant, A, B, O>(device, shape, a, b, output);
                return true;
            case MatMulPrecision.TensorFloat32:
                Staged<T, TensorFloat32Variant, A, B, O>(device, shape, a, b, output);
                return true;
            case MatMulPrecision.BFloat16:
                Narrow<T, BFloat16Variant, A, B, O>(device, shape, a, b, output);
                return true;
            case MatMulPrecision.Float16:
                Narrow<T, Float16Variant, A, B, O>(device, shape, a, b, output);
                return true;
            default:
                return false;
        }
    }

    /// <summary>What to compute with: numbers of 16 bits lose nothing on the tensor cores of their type.</summary>
    internal static MatMulPrecision Precision(MatMulPrecision wanted, bool allowsTuned, ElementType operands) => (allowsTuned, operands) switch
    {
        (true, ElementType.Float16) => MatMulPrecision.Float16,
        (true, ElementType.BFloat16) => MatMulPrecision.BFloat16,
        _ => wanted,
    };

    private static void Staged<T, V, A, B, O>(ComputeDevice device, in MatMulShape shape, A a, B b, O output)
        where T : unmanaged where V : unmanaged, IProductVariant where A : struct, ITileSource<T> where B : struct, ITileSource<T> where O : struct, IOutput<T> =>
        device.LaunchGroups<T, StagedProduct<T, V, A, B, O>>(ProductTile.Groups(shape), new(new(shape), Operand<T, A>(a, shape.M), Operand<T, B>(b, shape.N), output));

    private static void Narrow<T, V, A, B, O>(ComputeDevice device, in MatMulShape shape, A a, B b, O output)
        where T : unmanaged where V : unmanaged, INarrowVariant where A : struct, ITileSource<T> where B : struct, ITileSource<T> where O : struct, IOutput<T> =>
        device.LaunchGroups<T, NarrowProduct<T, V, A, B, O>>(ProductTile.Groups(shape), new(new(shape), Operand<T, A>(a, shape.M), Operand<T, B>(b, shape.N), output));

    private static ProductOperand<T, S> Operand<T, S>(S source, int lines) where T : unmanaged where S : struct, ITileSource<T> =>
        new(source, source.Data.LoadEffectiveAddressAsPtr().ToInt64(), lines);
}
