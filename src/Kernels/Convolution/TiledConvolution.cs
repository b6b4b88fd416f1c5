using System.Runtime.CompilerServices;
using ILGPU;

namespace TransferEngine.Kernels;

/// <summary>
/// Convolution and its gradients as tiled products in shared memory, for GPUs: every number is read from memory once for a tile of sums, and the weight
/// gradient, whose sums are long and few, is cut into pieces of the batch that are added up in order.
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
        PortableMatMul.Tiled<T, S, MatrixLines<T>, PatchLines<T>, MapRows<T>>(
            device, new(s.Groups, s.GroupOutputs, s.Batch * s.OutputPlane, depth), new(weight.View<T>(), depth, 1, s.GroupOutputs * depth), new(s, x.View<T>()),
            new(y.View<T>(), (bias ?? weight).View<T>(), bias is null ? 0 : 1, s.Outputs, s.GroupOutputs, s.OutputPlane));
    }

    public static void InputGradient<T, S>(ComputeDevice device, in Conv2dShape s, in Slice dy, in Slice weight, in Slice? bias, in Slice dx) where T : unmanaged where S : unmanaged, IGroupSide =>
        PortableMatMul.Tiled<T, S, FilterLines<T>, GradientPatchLines<T>, MapRows<T>>(
            device, new(s.Groups, s.GroupChannels, s.Batch * s.InputPlane, s.GroupOutputs * s.Taps), new(s, weight.View<T>()), new(s, dy.View<T>()),
            new(dx.View<T>(), (bias ?? weight).View<T>(), bias is null ? 0 : 1, s.Channels, s.GroupChannels, s.InputPlane));

    public static void WeightGradient<T, S>(ComputeDevice device, in Conv2dShape s, in Slice x, in Slice dy, in Slice dweight) where T : unmanaged where S : unmanaged, IGroupSide
    {
        int columns = s.GroupChannels * s.Taps, tile = 4 * S.Side, tiles = s.Groups * ((s.GroupOutputs + tile - 1) / tile) * ((columns + tile - 1) / tile);
        using var pieces = new BatchPieces(device, s.Batch, Groups / tiles, dweight);
        // Pieces stand outside groups, so that each piece is a whole gradient.
        PortableMatMul.Tiled<T, S, MapLines<T>, TapLines<T>, RowMajor<T, Identity<T>>>(
            device, new(pieces.Count * s.Groups, s.GroupOutputs, columns, pieces.Images * s.OutputPlane), new(s, dy.View<T>(), pieces.Images), new(s, x.View<T>(), pieces.Images),
            new(pieces.Sums.View<T>(), s.GroupOutputs, columns, default));
        pieces.AddUp<T>();
    }
}

/// <summary>Patches of images: a line is an output pixel of the batch, K runs over the channels and taps of a group.</summary>
internal readonly struct PatchLines<T>(Conv2dShape shape, ArrayView<T> x) : ITileSource<T> where T : unmanaged
{
    private readonly Conv2dShape shape = shape;
    private readonly ArrayView<T> x = x;

    public int RunsAlongK => 0;

    public T Read<L>(int batch, int line, int k) where L : unmanaged, ILane<L, T>
    {
        var s = shape;
        int ow = line % s.X.Output, rest = line / s.X.Output, oh = rest % s.Y.Output, n = rest / s.Y.Output;
        int kw = k % s.X.Kernel, tap = k / s.X.Kernel, kh = tap % s.Y.Kernel, c = tap / s.Y.Kernel;
        int ih = oh * s.Y.Stride - s.Y.Padding + kh * s.Y.Dilation, iw = ow * s.X.Stride - s.X.Padding + kw * s.X.Dilation;
        T value = L.First(L.Constant(0));
        if (ih >= 0 && ih < s.Y.Input && iw >= 0 && iw < s.X.Input)
            value = L.At(x, ((n * s.Channels + batch * s.GroupChannels + c) * s.Y.Input + ih) * s.X.Input + iw);
        return value;
    }
}

/// <summary>What reaches the pixels of dx: a line is an input pixel of the batch, K runs over the outputs and taps of a group; zero between strides.</summary>
internal readonly struct GradientPatchLines<T>(Conv2dShape shape, ArrayView<T> dy) : ITileSource<T> where T : unmanaged
{
    private readonly Conv2dShape shape = shape;
    private readonly ArrayView<T> dy = dy;

    public int RunsAlongK => 0;

    public T Read<L>(int batch, int line, int k) where L : unmanaged, ILane<L, T>
    {
        var s = shape;
        int iw = line % s.X.Input, rest = line / s.X.Input, ih = rest % s.Y.Input, n = rest / s.Y.Input;
        int kw = k % s.X.Kernel, tap = k / s.X.Kernel, kh = tap % s.Y.Kernel, o = tap / s.Y.Kernel;
        int down = ih + s.Y.Padding - kh * s.Y.Dilation, right = iw + s.X.Padding - kw * s.X.Dilation, oh = down / s.Y.Stride, ow = right / s.X.Stride;
        T value = L.First(L.Constant(0));
        if (down >= 0 && right >= 0 && oh * s.Y.Stride == down && ow * s.X.Stride == right && oh < s.Y.Output && ow < s.X.Output)
            value = L.At(dy, ((n * s.Outputs + batch * s.GroupOutputs + o) * s.Y.Output + oh) * s.X.Output + ow);
        return value;
    }
}

/// <summary>Filters read across: a line is a channel of a group, K runs over its outputs and taps.</summary>
internal readonly struct FilterLines<T>(Conv2dShape shape, ArrayView<T> weight) : ITileSource<T> where T : unmanaged
{
    private readonly Conv2dShape shape = shape;
    private readonly ArrayView<T> weight = weight;

    public int RunsAlongK => 1;

    public T Read<L>(int batch, int line, int k) where L : unmanaged, ILane<L, T>
    {
        int taps = shape.Taps, o = k / taps;
        return L.At(weight, ((batch * shape.GroupOutputs + o) * shape.GroupChannels + line) * taps + k - o * taps);
    }
}

/// <summary>Feature maps: a line is an output channel of a group, K runs over the pixels of a piece of the batch. The product's batch is [pieces, groups].</summary>
internal readonly struct MapLines<T>(Conv2dShape shape, ArrayView<T> dy, int imagesOfPiece) : ITileSource<T> where T : unmanaged
{
    private readonly Conv2dShape shape = shape;
    private readonly ArrayView<T> dy = dy;
    private readonly int imagesOfPiece = imagesOfPiece;

    public int RunsAlongK => 1;

    public T Read<L>(int batch, int line, int k) where L : unmanaged, ILane<L, T>
    {
        int plane = shape.OutputPlane, image = k / plane, piece = batch / shape.Groups, group = batch - piece * shape.Groups;
        return L.At(dy, ((piece * imagesOfPiece + image) * shape.Outputs + group * shape.GroupOutputs + line) * plane + k - image * plane);
    }
}

/// <summary>Patches the other way: a line is a tap of a channel of a group, K runs over the output pixels of a piece of the batch, as in <see cref="MapLines{T}"/>.</summary>
internal readonly struct TapLines<T>(Conv2dShape shape, ArrayView<T> x, int imagesOfPiece) : ITileSource<T> where T : unmanaged
{
    private readonly PatchLines<T> patches = new(shape, x);
    private readonly int groups = shape.Groups, pixels = imagesOfPiece * shape.OutputPlane;

    public int RunsAlongK => 1;

    public T Read<L>(int batch, int line, int k) where L : unmanaged, ILane<L, T>
    {
        int piece = batch / groups;
        return patches.Read<L>(batch - piece * groups, piece * pixels + k, line);
    }
}

/// <summary>Rows of sums as channels of [images, channels, plane], columns as the pixels of all images; the product's batch is the groups.</summary>
internal readonly struct MapRows<T>(ArrayView<T> maps, ArrayView<T> bias, int biased, int channels, int channelsOfGroup, int plane) : IOutput<T> where T : unmanaged
{
    private readonly ArrayView<T> maps = maps, bias = bias;
    private readonly int biased = biased, channels = channels, channelsOfGroup = channelsOfGroup, plane = plane;

    public void Prepare(int batch, int row, int column, int count)
    {
        // Runs of pixels end at any column: not worth finding.
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Store<L>(L sum, int batch, int row, int column, int remaining) where L : unmanaged, ILane<L, T>
    {
        int image = column / plane, channel = batch * channelsOfGroup + row;
        L.At(maps, (image * channels + channel) * plane + column - image * plane) = L.First(biased != 0 ? sum + L.Splat(L.At(bias, channel)) : sum);
    }
}
