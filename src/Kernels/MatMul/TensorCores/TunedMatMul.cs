namespace TransferEngine.Kernels;

/// <summary>
/// The products that are tuned for CUDA, and the one table that chooses among them. They have run on no card yet, only through an interpreter of their PTX in the tests,
/// so none is chosen unless it was asked for by <see cref="ComputeDevice.MatMulPrecision"/> or <see cref="ComputeDevice.AllowTunedMatMul"/>.
/// </summary>
internal static class TunedMatMul
{
    /// <summary>The smallest size of every axis that is worth a tile.</summary>
    private const int Smallest = 16;

    /// <summary>Runs the product if a tuned variant serves it.</summary>
    public static bool TryRun<T, O>(ComputeDevice device, in MatMulShape shape, in Matrix a, in Matrix b, O output) where T : unmanaged where O : struct, IOutput<T>
    {
        if (typeof(T) != typeof(float) || !device.HasAsynchronousCopies || shape.M < Smallest || shape.N < Smallest || shape.K < Smallest)
            return false;
        switch (Precision(device.MatMulPrecision, device.AllowTunedMatMul, shape.Operands))
        {
            case MatMulPrecision.Float32 when device.AllowTunedMatMul:
                Staged<T, ScalarVariant, O>(device, shape, a, b, output);
                return true;
            case MatMulPrecision.TensorFloat32:
                Staged<T, TensorFloat32Variant, O>(device, shape, a, b, output);
                return true;
            case MatMulPrecision.BFloat16:
                Narrow<T, BFloat16Variant, O>(device, shape, a, b, output);
                return true;
            case MatMulPrecision.Float16:
                Narrow<T, Float16Variant, O>(device, shape, a, b, output);
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

    private static void Staged<T, V, O>(ComputeDevice device, in MatMulShape shape, in Matrix a, in Matrix b, O output)
        where T : unmanaged where V : unmanaged, IProductVariant where O : struct, IOutput<T> =>
        device.LaunchGroups<T, StagedProduct<T, V, O>>(ProductTile.Groups(shape), new(new(shape), new(a, true, shape.M), new(b, false, shape.N), output));

    private static void Narrow<T, V, O>(ComputeDevice device, in MatMulShape shape, in Matrix a, in Matrix b, O output)
        where T : unmanaged where V : unmanaged, INarrowVariant where O : struct, IOutput<T> =>
        device.LaunchGroups<T, NarrowProduct<T, V, O>>(ProductTile.Groups(shape), new(new(shape), new(a, true, shape.M), new(b, false, shape.N), output));
}
