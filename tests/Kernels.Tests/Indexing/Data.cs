using TransferEngine.Kernels;

namespace TransferEngine.Kernels.Tests;

/// <summary>Slices of any element type, written and read as doubles.</summary>
internal static class Data
{
    public static Slice New(ComputeDevice device, double[] values, ElementType type)
    {
        var slice = new Slice(device.Memory.Rent((long)type.Size() * values.Length, null), 0, values.Length, type);
        if (type == ElementType.Float64)
            device.CopyIn<double>(values, slice);
        else if (type == ElementType.Int32)
            device.CopyIn<int>([.. values.Select(v => (int)v)], slice);
        else if (type == ElementType.Float16)
            device.CopyIn<Half>([.. values.Select(v => (Half)v)], slice);
        else if (type == ElementType.BFloat16)
            device.CopyIn<BFloat16>([.. values.Select(v => (BFloat16)v)], slice);
        else
            device.CopyIn<float>([.. values.Select(v => (float)v)], slice);
        return slice;
    }

    public static Slice New(ComputeDevice device, params int[] values)
    {
        var slice = new Slice(device.Memory.Rent(4L * values.Length, null), 0, values.Length, ElementType.Int32);
        device.CopyIn<int>(values, slice);
        return slice;
    }

    public static double[] Read(ComputeDevice device, Slice slice) => slice.Type switch
    {
        ElementType.Float64 => Read<double>(device, slice),
        ElementType.Int32 => [.. Read<int>(device, slice).Select(v => (double)v)],
        ElementType.Float16 => [.. Read<Half>(device, slice).Select(v => (double)v)],
        ElementType.BFloat16 => [.. Read<BFloat16>(device, slice).Select(v => (double)v)],
        _ => [.. Read<float>(device, slice).Select(v => (double)v)],
    };

    private static T[] Read<T>(ComputeDevice device, Slice slice) where T : unmanaged
    {
        var values = new T[slice.Length];
        device.CopyOut<T>(slice, values);
        return values;
    }
}
