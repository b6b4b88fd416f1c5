using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace TransferEngine.Kernels;

/// <summary>
/// Convolution and its gradients as packed matrix products on the CPU's direct path: filters times patches, where the patches are read into panels from
/// a padded copy of the images (or from the images themselves), and never stand in memory as a matrix.
/// </summary>
internal static unsafe class ImplicitProduct
{
    /// <summary>Tiles of 48 x 64 sums that are enough to be shared out.</summary>
    private const int WantedTiles = 16;

    /// <summary>y = filters x patches of x.</summary>
    public static void Forward<T>(ComputeDevice device, in Conv2dShape s, in Slice x, in Slice weight, in ConvolutionTail tail, in Slice y) where T : unmanaged
    {
        var space = new WorkSpace(device);
        try
        {
            var window = Window.OfImage(s.Y, s.X);
            T* images = Images(device, ref space, window, s.Batch * s.Channels, s.InputPlane, x.Pointer<T>());
            int* offsets = Offsets(ref space, s, window);
            for (int g = 0; g < s.Groups; g++)
            {
                var patches = new Patches<T>(images + (nint)g * s.GroupChannels * window.Plane, (nint)s.Channels * window.Plane, offsets, s.Y.Output, s.X.Output, window.RowStep);
                var filters = new FilterPanels<T>(weight.Pointer<T>() + (nint)g * s.GroupOutputs * s.GroupChannels * s.Taps, s.GroupChannels * s.Taps, 1);
                var output = new MapOutput<T>(y, tail, s.Outputs, g * s.GroupOutputs, s.OutputPlane);
                Run(device, new(1, s.GroupOutputs, s.Batch * s.OutputPlane, s.GroupChannels * s.Taps), filters, patches, output);
            }
        }
        finally
        {
            space.Return();
        }
    }

    /// <summary>dx = filters, read across, x pixels of dy, where a filter has one tap, a stride of 1 and no padding.</summary>
    public static void InputGradient<T>(ComputeDevice device, in Conv2dShape s, in Slice dy, in Slice weight, in Slice? bias, in Slice dx) where T : unmanaged
    {
        var space = new WorkSpace(device);
        try
        {
            int* offsets = space.Rent<int>(s.GroupOutputs, isTable: true);
            for (int o = 0; o < s.GroupOutputs; o++)
                offsets[o] = o * s.OutputPlane;
            for (int g = 0; g < s.Groups; g++)
            {
                var pixels = new Patches<T>(dy.Pointer<T>() + (nint)g * s.GroupOutputs * s.OutputPlane, (nint)s.Outputs * s.OutputPlane, offsets, s.Y.Input, s.X.Input, s.X.Input);
                var filters = new FilterPanels<T>(weight.Pointer<T>() + (nint)g * s.GroupOutputs * s.GroupChannels, 1, s.GroupChannels);
                var output = new MapOutput<T>(dx, new(bias), s.Channels, g * s.GroupChannels, s.InputPlane);
                Run(device, new(1, s.GroupChannels, s.Batch * s.InputPlane, s.GroupOutputs), filters, pixels, output);
            }
        }
        finally
        {
            space.Return();
        }
    }

    /// <summary>
    /// dweight = maps of dy x patches of x, over all pixels of a piece of the batch.
    /// </summary>
    public static void WeightGradient<T>(ComputeDevice device, in Conv2dShape s, in Slice x, in Slice dy, in Slice dweight) where T : unmanaged
    {
        var space = new WorkSpace(device);
        try
        {
            var window = Window.OfImage(s.Y, s.X);
            T* images = Images(device, ref space, window, s.Batch * s.Channels, s.InputPlane, x.Pointer<T>());
            int* offsets = Offsets(ref space, s, window);
            int columns = s.GroupChannels * s.Taps, size = s.GroupOutputs * columns;
            int tiles = s.Groups * ((s.GroupOutputs + 47) / 48) * ((columns + 63) / 64);
            using var pieces = new BatchPieces(device, s.Batch, WantedTiles / tiles, dweight);
            for (int g = 0; g < s.Groups; g++)
            {
                var patches = new Patches<T>(images + (nint)g * s.GroupChannels * window.Plane, (nint)s.Channels * window.Plane, offsets, s.Y.Output, s.X.Output, window.RowStep);
                var maps = new MapPanels<T>(dy.Pointer<T>() + (nint)g * s.GroupOutputs * s.OutputPlane, s.Outputs, s.OutputPlane, pieces.Images);
                // The gradient of a piece has the rows of all groups.
                var output = new RowMajor<T, Identity<T>>(pieces.Sums.Block.View<T>(pieces.Sums.Offset + g * size, pieces.Sums.Length - g * size), s.Outputs, columns, default);
                var shape = new MatMulShape(pieces.Count, s.GroupOutputs, columns, pieces.Images * s.OutputPlane);
                PackedProduct.Run<T, MapPanels<T>, TapPanels<T>, RowMajor<T, Identity<T>>>(device, shape, maps, new(patches, pieces.Images), output);
            }
            pieces.AddUp<T>();
        }
        finally
        {
            space.Return();
        }
    }

    private static void Run<T>(ComputeDevice device, in MatMulShape shape, FilterPanels<T> filters, Patches<T> patches, MapOutput<T> output) where T : unmanaged
    {
        if (Vector512.IsHardwareAccelerated)
            PackedProduct.Run<T, Simd512<T>, FilterPanels<T>, PatchPanels<T, Simd512<T>>, MapOutput<T>>(device, shape, filters, new(patches, shape.N), output);
        else if (Vector256.IsHardwareAccelerated)
            PackedProduct.Run<T, Simd256<T>, FilterPanels<T>, PatchPanels<T, Simd256<T>>, MapOutput<T>>(device, shape, filters, new(patches, shape.N), output);
        else
            PackedProduct.Run<T, Simd128<T>, FilterPanels<T>, PatchPanels<T, Simd128<T>>, MapOutput<T>>(device, shape, filters, new(patches, shape.N), output);
    }

    /// <summary>The images as windows, one after the other: themselves where nothing would change.</summary>
    private static T* Images<T>(ComputeDevice device, ref WorkSpace space, Window window, int planes, int plane, T* source) where T : unmanaged
    {
        if (window.IsImage)
            return source;
        // A vector more than is read by outputs, as panels copy by whole vectors.
        T* images = space.Rent<T>((long)planes * window.Plane + 64);
        int chunk = Math.Max(1, 16384 / window.Plane);
        var work = new FillWork<T>(window, source, images, planes, plane, chunk);
        device.RunWork((planes + chunk - 1) / chunk, ref work);
        return images;
    }

    private static int* Offsets(ref WorkSpace space, in Conv2dShape s, Window window)
    {
        int* offsets = space.Rent<int>(s.GroupChannels * s.Taps, isTable: true);
        for (int k = 0; k < s.GroupChannels * s.Taps; k++)
        {
            var (channel, tap) = Math.DivRem(k, s.Taps);
            offsets[k] = channel * window.Plane + window.Offset(tap / s.X.Kernel, tap % s.X.Kernel);
        }
        return offsets;
    }

    private struct FillWork<T>(Window window, T* source, T* images, int planes, int plane, int chunk) : IWork where T : unmanaged
    {
        public void Execute(int item)
        {
            int end = Math.Min(planes, (item + 1) * chunk);
            for (int p = item * chunk; p < end; p++)
                window.Fill(images + (nint)p * window.Plane, source + (nint)p * plane, 1, 1, 0, window.Rows, 0);
        }
    }

    /// <summary>Blocks that are held for the length of one call.</summary>
    private struct WorkSpace(ComputeDevice device)
    {
        private MemoryBlock? first, second;

        public T* Rent<T>(long count, bool isTable = false) where T : unmanaged => (T*)Keep(device.Memory.Rent(sizeof(T) * count, null, isTable)).Address;

        public readonly void Return()
        {
            Return(first);
            Return(second);
        }

        private MemoryBlock Keep(MemoryBlock block)
        {
            if (first is null)
                return first = block;
            return second = block;
        }

        private readonly void Return(MemoryBlock? block)
        {
            if (block is not null)
                device.Memory.Return(block);
        }
    }
}
