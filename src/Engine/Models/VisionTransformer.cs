using System.Globalization;
using TransferEngine.Modules;

namespace TransferEngine.Models;

/// <summary>
/// The vision transformer (Dosovitskiy et al., ICLR 2021) as timm defines it, with its names, so that its weights load: from images [N, 3, size, size],
/// cut into patches that become tokens, to logits [N, classes] of a token that stands before them. The head is <c>head</c>.
/// </summary>
public sealed class VisionTransformer : Classifier
{
    // timm draws normal numbers cut at -2 and 2, a hundred deviations away.
    private const double Deviation = 0.02, Eps = 1e-6;

    /// <param name="width">The length of a token.</param>
    /// <param name="depth">The blocks.</param>
    /// <param name="heads">The heads of each block's attention, which divide the width.</param>
    /// <param name="classes">How many logits.</param>
    /// <param name="size">The height and width of the images, a multiple of the patch.</param>
    /// <param name="patch">The height and width of a patch.</param>
    /// <param name="generator">The stream; <see cref="Generator.Default"/> if null.</param>
    /// <param name="device">Where; the CPU if null.</param>
    /// <param name="type">The element type.</param>
    /// <exception cref="ArgumentException">The size is no multiple of the patch, or the width none of the heads.</exception>
    public VisionTransformer(int width, int depth, int heads, int classes = 1000, int size = 224, int patch = 16, Generator? generator = null, Device? device = null, ElementType type = ElementType.Float32)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(depth, 1);
        if (patch < 1 || size < patch || size % patch != 0)
            throw new ArgumentException($"VisionTransformer: images of {size} x {size} do not divide into patches of {patch} x {patch}.", nameof(size));
        var make = new LayerMaker(generator, device, type);
        AddLayer("patch_embed", new Sequential(("proj", make.PlainConv(3, width, patch, patch)), ("flatten", new Flatten(2))));
        // Parameters of the network itself, by timm's names; the layer only adds them.
        AddLayer("tokens", new Tokens(AddParameter("cls_token", make.Normal([1, 1, width], 1e-6)), AddParameter("pos_embed", make.Normal([1, size / patch * (size / patch) + 1, width], Deviation))));
        AddLayer("blocks", new Sequential([.. Enumerable.Range(0, depth).Select(_ => new Block(make, width, heads))]));
        AddLayer("norm", make.LayerNorm(width, Eps));
        AddLayer("pool", new FirstToken());
        AddHead("head", width, make.NormalLinear(width, classes, Deviation));
    }

    /// <summary>Tiny: tokens of 192, 3 heads; 5,717,416 parameters with 1,000 classes.</summary>
    /// <param name="classes">How many logits.</param>
    /// <param name="generator">The stream; <see cref="Generator.Default"/> if null.</param>
    /// <param name="device">Where; the CPU if null.</param>
    /// <param name="type">The element type.</param>
    public static VisionTransformer Tiny(int classes = 1000, Generator? generator = null, Device? device = null, ElementType type = ElementType.Float32) =>
        new(192, 12, 3, classes, generator: generator, device: device, type: type);

    /// <summary>Small: tokens of 384, 6 heads; 22,050,664 parameters with 1,000 classes.</summary>
    /// <inheritdoc cref="Tiny"/>
    public static VisionTransformer Small(int classes = 1000, Generator? generator = null, Device? device = null, ElementType type = ElementType.Float32) =>
        new(384, 12, 6, classes, generator: generator, device: device, type: type);

    /// <summary>Base: tokens of 768, 12 heads; 86,567,656 parameters with 1,000 classes.</summary>
    /// <inheritdoc cref="Tiny"/>
    public static VisionTransformer Base(int classes = 1000, Generator? generator = null, Device? device = null, ElementType type = ElementType.Float32) =>
        new(768, 12, 12, classes, generator: generator, device: device, type: type);

    /// <summary>[N, width, places] to [N, 1 + places, width]: the class's token comes first, and each place adds what is known of it.</summary>
    private sealed class Tokens(Tensor classToken, Tensor positions) : Module
    {
        internal override bool IsTransparent => !HasHooks;

        protected override Tensor Compute(Tensor input)
        {
            Check.That(input.Shape[2] + 1 == positions.Shape[1],
                $"VisionTransformer: the images have {input.Shape[2]} patches, the model is for {positions.Shape[1] - 1}. Resize them, or build it for their size.");
            return Tensor.Concat([classToken.Expand([input.Shape[0], 1, input.Shape[1]]), input.Transpose()], 1) + positions;
        }
    }

    /// <summary>[N, tokens, width] to the first token, [N, width].</summary>
    private sealed class FirstToken : Module
    {
        internal override bool IsTransparent => !HasHooks;

        protected override Tensor Compute(Tensor input) => input.Select(1, 0);
    }

    /// <summary>Attention and two fully connected layers, each of normalised tokens and beside a short cut.</summary>
    private sealed class Block : Module
    {
        private readonly Module[] attention, connected;

        public Block(LayerMaker make, int width, int heads)
        {
            attention = [Add("norm1", make.LayerNorm(width, Eps)), Add("attn", make.Attention(width, heads, Deviation))];
            connected = [Add("norm2", make.LayerNorm(width, Eps)), Add("mlp", new Sequential(
                ("fc1", make.NormalLinear(width, 4 * width, Deviation)), ("act", Activation.Gelu()), ("fc2", make.NormalLinear(4 * width, width, Deviation))))];
        }

        internal override bool IsTransparent => !HasHooks && !Children.Any(child => !child.Module.IsTransparent);

        protected override Tensor Compute(Tensor input)
        {
            var first = Beside(input, attention);
            var second = Beside(first, connected);
            if (IsTransparent)
                first.Dispose();
            return second;
        }

        private Tensor Beside(Tensor input, Module[] path)
        {
            var y = Chain(input, path);
            var sum = input + y;
            if (IsTransparent)
                y.Dispose();
            return sum;
        }
    }
}
