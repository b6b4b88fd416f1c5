using System.Runtime.CompilerServices;
using ILGPU;

namespace TransferEngine.Kernels;

/// <summary>
/// Convolution and its gradients as tiled products in shared memory, for GPUs, by the tiles that are tuned for CUDA where those are asked for: every number is read from memory
/// once for a tile of sums, and the weight gradient, whose sums are long and few, is cut into pieces of the batch that are added up in order.
/// </summary>
internal static class TiledConvolution
{
    /// <summary>The shortest axes for which tiles pay.</summary>
    private const int SmallestRows = 8, SmallestDepth = 16;

    /// <summary>Work groups that fill a large GPU.</summary>
    private const int Groups = 256;

    public static bool Serves(ComputeDevice device, in Conv2dShape s) => !device.IsDirect && !device.IsEmulated
        && s.GroupOutputs >= SmallestRows && s.GroupChannels * s.Taps >= SmallestDepth;

    public static bool ServesInputGradient(ComputeDevice device, in Conv2dShape s) => !device.IsDirect && !device.IsEmulated
        && s.GroupChannels >= SmallestRows && s.GroupOutputs * s.Taps >= SmallestDepth && s.Y.Stride * s.X.Stride <= 4;

    public static void Forward<T, S>(ComputeDevice device, in Conv2dShape s, in Slice x, in Slice weight, in Slice? bias, in Slice y) where T : unmanaged where S : unmanaged, IGroupSide
    {
        int depth = s.GroupChannels * s.Taps;
        Run<T, S, MatrixLines<T>, PatchLines<T>, MapRows<T>>(
            device, new(s.Groups, s.GroupOutputs, s.Batch * s.OutputPlane, depth) { Operands = s.Operands }, new(weight.View<T>(), depth, 1, s.GroupOutputs * depth), new(s, x.View<T>()),
            new(y.View<T>(), (bias ?? weight).View<T>(), bias is null ? 0 : 1, s.Outputs, s.GroupOutputs, s.OutputPlane));
    }

    public static void InputGradient<T, S>(ComputeDevice device, in Conv2dShape s, in Slice dy, in Slice weight, in Slice? bias, in Slice dx) where T : unmanaged where S : unmanaged, IGroupSide =>
        Run<T, S, FilterLines<T>, GradientPatchLines<T>, MapRows<T>>(
            device, new(s.Groups, s.GroupChannels, s.Batch * s.InputPlane, s.GroupOutputs * s.Taps) { Operands = s.Operands }, new(s, weight.View<T>()), new(s, dy.View<T>()),
            new(dx.View<T>(), (bias ?? weight).View<T>(), bias is null ? 0 : 1, s.Channels, s.GroupChannels, s.InputPlane));

    public static void WeightGradient<T, S>(ComputeDevice device, in Conv2dShape s, in Slice x, in Slice dy, in Slice dweight) where T : unmanaged where S : unmanaged, IGroupSide
    {
        int columns = s.GroupChannels * s.Taps, tile = 4 * S.Side, tiles = s.Groups * ((s.GroupOutputs + tile - 1) / tile) * ((columns + tile - 1) / tile);
        using var pieces = new BatchPieces(device, s.Batch, Groups / tiles, dweight);
        // Pieces stand outside groups, so that each piece is a whole gradient.
        Run<T, S, MapLines<T>, TapLines<T>, RowMajor<T, Identity<T>>>(
            device, new(pieces.Count * s.Groups, s.GroupOutputs, columns, pieces.Images * s.OutputPlane) { Operands = s.Operands }, new(s, dy.View<T>(), pieces.Images), new(s, x.View<T>(), pieces.Images),
            new(pieces.Sums.View<T>(), s.GroupOutputs, columns, default));
        pieces.AddUp<T>();
    }

    private static void Run<T, S, A, B, O>(ComputeDevice device, in MatMulShape shape, A a, B b, O output)
        where T : unmanaged where S : unmanaged, IGroupSide where A : struct, ITileSource<T> where B : struct, ITileSource<T> where O : struct, IOutput<T>
    {
        if (!TunedMatMul.TryRun<T, A, B, O>(device, shape, a, b, output))
            PortableMatMul.Tiled<T, S, A, B, O>(device, shape, a, b, output);
    }
}

/// <summary>Patches of images: a line is an output pixel of the batch, K runs over the channels and taps of a group.</summary>
internal readonly struct PatchLines<T>(Conv2dShape shape, ArrayView<T> x) : ITileSource<T> where T : unmanaged
{
    private readonly Conv2dShape shape = shape;
    private readonly ArrayView<T> x = x;
    private readonly Divisor outputX = new(shape.X.Output), outputY = new(shape.Y.Output), kernelX = new(shape.X.Kernel), kernelY = new(shape.Y.Kernel);

    public int RunsAlongK => 0;

    public int FoursTogether => 0;

    public ArrayView<T> Data => x;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public int Place(int batch, int line, int k)
    {
        int n = outputY.Divide(outputX.Divide(line, out int ow), out int oh), c = kernelY.Divide(kernelX.Divide(k, out int kw), out int kh);
        int ih = oh * shape.Y.Stride - shape.Y.Padding + kh * shape.Y.Dilation, iw = ow * shape.X.Stride - shape.X.Padding + kw * shape.X.Dilation;
        return ih >= 0 && ih < shape.Y.Input && iw >= 0 && iw < shape.X.Input
            ? ((n * shape.Channels + batch * shape.GroupChannels + c) * shape.Y.Input + ih) * shape.X.Input + iw : -1;
    }
}

/// <summary>What reaches the pixels of dx: a line is an input pixel of the batch, K runs over the outputs and taps of a group; zero between strides.</summary>
internal readonly struct GradientPatchLines<T>(Conv2dShape shape, ArrayView<T> dy) : ITileSource<T> where T : unmanaged
{
    private readonly Conv2dShape shape = shape;
    private readonly ArrayView<T> dy = dy;
    private readonly Divisor inputX = new(shape.X.Input), inputY = new(shape.Y.Input), kernelX = new(shape.X.Kernel), kernelY = new(shape.Y.Kernel), strideX = new(shape.X.Stride), strideY = new(shape.Y.Stride);

    public int RunsAlongK => 0;

    public int FoursTogether => 0;

    public ArrayView<T> Data => dy;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public int Place(int batch, int line, int k)
    {
        int n = inputY.Divide(inputX.Divide(line, out int iw), out int ih), o = kernelY.Divide(kernelX.Divide(k, out int kw), out int kh);
        int down = ih + shape.Y.Padding - kh * shape.Y.Dilation, right = iw + shape.X.Padding - kw * shape.X.Dilation;
        if (down < 0 || right < 0)
            return -1;
        int oh = strideY.Divide(down, out int between), ow = strideX.Divide(right, out int betweenX);
        return between == 0 && betweenX == 0 && oh < shape.Y.Output && ow < shape.X.Output
            ? ((n * shape.Outputs + batch * shape.GroupOutputs + o) * shape.Y.Output + oh) * shape.X.Output + ow : -1;
    }
}

/// <summary>Filters read across: a line is a channel of a group, K runs over its outputs and taps.</summary>
internal readonly struct FilterLines<T>(Conv2dShape shape, ArrayView<T> weight) : ITileSource<T> where T : unmanaged
{
    private readonly ArrayView<T> weight = weight;
    private readonly int outputs = shape.GroupOutputs, channels = shape.GroupChannels, taps = shape.Taps;
    private readonly Divisor byTaps = new(shape.Taps);

    public int RunsAlongK => 1;

    public int FoursTogether => 0;

    public ArrayView<T> Data => weight;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public int Place(int batch, int line, int k) => ((batch * outputs + byTaps.Divide(k, out int tap)) * channels + line) * taps + tap;
}

/// <summary>Feature maps: a line is an output channel of a group, K runs over the pixels of a piece of the batch. The product's batch is [pieces, groups].</summary>
internal readonly struct MapLines<T>(Conv2dShape shape, ArrayView<T> dy, int imagesOfPiece) : ITileSource<T> where T : unmanaged
{
    private readonly ArrayView<T> dy = dy;
    private readonly int imagesOfPiece = imagesOfPiece, outputs = shape.Outputs, groupOutputs = shape.GroupOutputs, plane = shape.OutputPlane;
    private readonly Divisor byPlane = new(shape.OutputPlane), byGroups = new(shape.Groups);

    public int RunsAlongK => 1;

    public int FoursTogether => 0;

    public ArrayView<T> Data => dy;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public int Place(int batch, int line, int k)
    {
        int piece = byGroups.Divide(batch, out int group), image = byPlane.Divide(k, out int pixel);
        return ((piece * imagesOfPiece + image) * outputs + group * groupOutputs + line) * plane + pixel;
    }
}

/// <summary>Patches the other way: a line is a tap of a channel of a group, K runs over the output pixels of a piece of the batch, as in <see cref="MapLines{T}"/>.</summary>
internal readonly struct TapLines<T>(Conv2dShape shape, ArrayView<T> x, int imagesOfPiece) : ITileSource<T> where T : unmanaged
{
    private readonly PatchLines<T> patches = new(shape, x);
    private readonly int pixels = imagesOfPiece * shape.OutputPlane;
    private readonly Divisor byGroups = new(shape.Groups);

    public int RunsAlongK => 1;

    public int FoursTogether => 0;

    public ArrayView<T> Data => patches.Data;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public int Place(int batch, int line, int k)
    {
        int piece = byGroups.Divide(batch, out int group);
        return patches.Place(group, piece * pixels + k, line);
    }
}

/// <summary>Rows of sums as channels of [images, channels, plane], columns as the pixels of all images; the product's batch is the groups.</summary>
internal readonly struct MapRows<T>(ArrayView<T> maps, ArrayView<T> bias, int biased, int channels, int channelsOfGroup, int plane) : IOutput<T> where T : unmanaged
{
    private readonly ArrayView<T> maps = maps, bias = bias;
    private readonly int biased = biased, channels = channels, channelsOfGroup = channelsOfGroup, plane = plane;
    private readonly Divisor byPlane = new(plane);

    public void Prepare(int batch, int row, int column, int count)
    {
        // Runs of pixels end at any column: not worth finding.
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Store<L>(L sum, int batch, int row, int column, int remaining) where L : unmanaged, ILane<L, T>
    {
        int image = byPlane.Divide(column, out int pixel), channel = batch * channelsOfGroup + row;
        L.At(maps, (image * channels + channel) * plane + pixel) = L.First(biased != 0 ? sum + L.Splat(L.At(bias, channel)) : sum);
    }
}
