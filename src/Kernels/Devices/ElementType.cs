namespace TransferEngine;

/// <summary>The type of a tensor's elements.</summary>
public enum ElementType
{
    /// <summary>IEEE 754 single precision, 4 bytes: the default.</summary>
    Float32,

    /// <summary>IEEE 754 double precision, 8 bytes: for exact gradient checks.</summary>
    Float64,

    /// <summary>Signed 32-bit integers, 4 bytes: class labels and positions. Only moved, gathered by and converted, never computed with.</summary>
    Int32,

    /// <summary>IEEE 754 half precision, 2 bytes: 11 bits of precision, infinite past 65504. A storage type, as <see cref="BFloat16"/>.</summary>
    Float16,

    /// <summary>
    /// The upper half of a <see cref="Float32"/>, 2 bytes: 8 bits of precision, float32's range. A storage type: it is moved, indexed and converted, not computed with;
    /// what computes in 16 bits is a product under autocast, of Float32 operands.
    /// </summary>
    BFloat16,
}

/// <summary>The kind of machine that a device is.</summary>
public enum DeviceKind
{
    /// <summary>The processor that the program runs on, through its vector units.</summary>
    Cpu,

    /// <summary>An NVIDIA graphics processor.</summary>
    Cuda,

    /// <summary>A device of an OpenCL driver.</summary>
    OpenCL,
}

/// <summary>What float32 matrix products and convolutions on CUDA compute with; sums are float32 in any case. PyTorch's names for the first three are highest, high and medium.</summary>
public enum MatMulPrecision
{
    /// <summary>IEEE 754 single precision: the default.</summary>
    Float32,

    /// <summary>Tensor cores; operands are rounded to 10 bits of fraction.</summary>
    TensorFloat32,

    /// <summary>Tensor cores; operands are rounded to 7 bits of fraction, with float32's range.</summary>
    BFloat16,

    /// <summary>Tensor cores; operands are rounded to 10 bits of fraction, and to infinity past 65504.</summary>
    Float16,
}

internal static class ElementTypes
{
    public static int Size(this ElementType type) => type == ElementType.Float64 ? 8 : type.IsNarrow() ? 2 : 4;

    /// <summary>Whether it is a floating type of 16 bits.</summary>
    public static bool IsNarrow(this ElementType type) => type is ElementType.Float16 or ElementType.BFloat16;

    public static ElementType Of<T>() where T : unmanaged =>
        typeof(T) == typeof(float) ? ElementType.Float32
        : typeof(T) == typeof(double) ? ElementType.Float64
        : typeof(T) == typeof(int) ? ElementType.Int32
        : typeof(T) == typeof(Half) ? ElementType.Float16
        : typeof(T) == typeof(BFloat16) ? ElementType.BFloat16
        : throw new NotSupportedException($"{typeof(T)} is no element type of a tensor. Use float, double, int, Half or BFloat16.");
}
