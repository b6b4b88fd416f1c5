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

    public static double[] Read(ComputeDevice device, Slice slice)
    {
        if (slice.Type == ElementType.Float64)
            return Read<double>(device, slice);
        return slice.Type == ElementType.Int32 ? [.. Read<int>(device, slice).Select(v => (double)v)] : [.. Read<float>(device, slice).Select(v => (double)v)];
    }

    private static T[] Read<T>(ComputeDevice device, Slice slice) where T : unmanaged
    {
        var values = new T[slice.Length];
        device.CopyOut<T>(slice, values);
        return values;
    }
}
