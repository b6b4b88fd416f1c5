namespace TransferEngine.Kernels;

/// <summary>Makes the exception of a number that is out of range.</summary>
internal interface IRangeFault
{
    Exception Of(int number);
}

/// <summary>The check of positions and classes on the CPU's direct path, as work of the device: it stands in order with what writes them, and a captured step checks at each replay.</summary>
internal static class RangeCheck
{
    /// <summary>Throws where a number is not from 0 to <paramref name="size"/> - 1, nor <paramref name="ignored"/>.</summary>
    public static void Run<F>(ComputeDevice device, in Slice numbers, int size, int? ignored, F fault) where F : struct, IRangeFault
    {
        var work = new Work<F>(numbers, size, ignored, fault);
        device.RunWork(1, ref work);
    }

    private readonly struct Work<F>(Slice numbers, int size, int? ignored, F fault) : IWork where F : struct, IRangeFault
    {
        public unsafe void Execute(int item)
        {
            foreach (int number in new ReadOnlySpan<int>(numbers.Pointer<int>(), numbers.Length))
            {
                if ((uint)number >= (uint)size && number != ignored)
                    throw fault.Of(number);
            }
        }
    }
}
