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
                var filters = new FilterPanels<T>(weight.Pointer<T>() + (nint)g * s.GroupOutputs * s.GroupChannels * s.Taps, s.GroupChannels * s.Taps, s.Taps, null, s.Taps, true);
                var output = new MapOutput<T>(y, tail, s.Outputs, g * s.GroupOutputs, s.Y.Output, s.X.Output, s.Y.Output, s.X.Output, 0, 0, 1, 1);
                Run(device, new(1, s.GroupOutputs, s.Batch * s.OutputPlane, s.GroupChannels * s.Taps), filters, patches, output);
            }
        }
        finally
        {
            space.Return();
        }
    }

    /// <summary>
    /// dx = filters, read across, x patches of dy. Where the stride is not 1, the pixels of dx fall into phases by their place modulo the stride: each
    /// phase meets only some of the taps, and is a convolution of stride 1 with those.
    /// </summary>
    public static void InputGradient<T>(ComputeDevice device, in Conv2dShape s, in Slice dy, in Slice weight, in Slice? bias, in Slice dx) where T : unmanaged
    {
        var space = new WorkSpace(device);
        try
        {
            var window = Window.OfImage(Phases(s.Y), Phases(s.X));
            T* maps = Images(device, ref space, window, s.Batch * s.Outputs, s.OutputPlane, dy.Pointer<T>());
            int* offsets = space.Rent<int>(s.GroupOutputs * s.Taps), taps = space.Rent<int>(s.Taps);
            for (int phase = 0; phase < s.Y.Stride * s.X.Stride; phase++)
            {
                int top = phase / s.X.Stride, left = phase % s.X.Stride;
                int rows = (s.Y.Input - top + s.Y.Stride - 1) / s.Y.Stride, columns = (s.X.Input - left + s.X.Stride - 1) / s.X.Stride;
                if (rows <= 0 || columns <= 0)
                    continue;
                int count = TapsOfPhase(s, window, top, left, taps, offsets);
                for (int g = 0; g < s.Groups; g++)
                {
                    var patches = new Patches<T>(maps + (nint)g * s.GroupOutputs * window.Plane, (nint)s.Outputs * window.Plane, offsets, rows, columns, window.RowStep);
                    var filters = new FilterPanels<T>(weight.Pointer<T>() + (nint)g * s.GroupOutputs * s.GroupChannels * s.Taps, s.Taps, s.GroupChannels * s.Taps, taps, count, false);
                    var output = new MapOutput<T>(dx, new(bias), s.Channels, g * s.GroupChannels, rows, columns, s.Y.Input, s.X.Input, top, left, s.Y.Stride, s.X.Stride);
                    Run(device, new(1, s.GroupChannels, s.Batch * rows * columns, s.GroupOutputs * count), filters, patches, output);
                }
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
        int* offsets = space.Rent<int>(s.GroupChannels * s.Taps);
        for (int k = 0; k < s.GroupChannels * s.Taps; k++)
        {
            var (channel, tap) = Math.DivRem(k, s.Taps);
            offsets[k] = channel * window.Plane + window.Offset(tap / s.X.Kernel, tap % s.X.Kernel);
        }
        return offsets;
    }

    /// <summary>
    /// One axis of the convolutions from dy to the phases of dx: pixel i of phase r meets tap k at <c>dy[i + (r + padding - k * dilation) / stride]</c>
    /// where that divides. The window reaches from the lowest to the highest of these places.
    /// </summary>
    private static ConvAxis Phases(ConvAxis a)
    {
        int low = FloorDivide(a.Padding - (a.Kernel - 1) * a.Dilation, a.Stride), high = (a.Padding + a.Stride - 1) / a.Stride;
        return new(a.Output, high - low + 1, 1, -low, 1, (a.Input + a.Stride - 1) / a.Stride);
    }

    private static int FloorDivide(int a, int b) => a >= 0 ? a / b : -((-a + b - 1) / b);

    /// <summary>Lists the taps that a phase meets, and where their patches lie for every output channel; returns how many taps.</summary>
    private static int TapsOfPhase(in Conv2dShape s, Window window, int top, int left, int* taps, int* offsets)
    {
        int count = 0, lowY = Phases(s.Y).Padding, lowX = Phases(s.X).Padding;
        int* places = stackalloc int[s.Taps];
        for (int tap = 0; tap < s.Taps; tap++)
        {
            int down = top + s.Y.Padding - tap / s.X.Kernel * s.Y.Dilation, right = left + s.X.Padding - tap % s.X.Kernel * s.X.Dilation;
            if (down % s.Y.Stride != 0 || right % s.X.Stride != 0)
                continue;
            places[count] = (down / s.Y.Stride + lowY) * window.RowPitch + right / s.X.Stride + lowX;
            taps[count++] = tap;
        }
        for (int o = 0; o < s.GroupOutputs; o++)
            for (int t = 0; t < count; t++)
                offsets[o * count + t] = o * window.Plane + places[t];
        return count;
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
        private MemoryBlock? first, second, third;

        public T* Rent<T>(long count) where T : unmanaged => (T*)Keep(device.Memory.Rent(sizeof(T) * count, null)).Address;

        public readonly void Return()
        {
            Return(first);
            Return(second);
            Return(third);
        }

        private MemoryBlock Keep(MemoryBlock block)
        {
            if (first is null)
                return first = block;
            if (second is null)
                return second = block;
            return third = block;
        }

        private readonly void Return(MemoryBlock? block)
        {
            if (block is not null)
                device.Memory.Return(block);
        }
    }
}
