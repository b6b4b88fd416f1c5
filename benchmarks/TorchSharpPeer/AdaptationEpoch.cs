using TorchSharp;
using static TorchSharp.torch;
using F = TorchSharp.torch.nn.functional;

namespace TransferEngine.TorchSharpPeer;

/// <summary>
/// A pass of DAN or DANN through random images of two domains, as TorchSharp's users write it: modules, tensor operations, a dispose scope a step. Network,
/// losses, optimiser and schedules are those of the benchmarks' AdaptationEpoch.
/// </summary>
internal sealed class AdaptationEpoch
{
    private const int Side = 28, Bottleneck = 256, Classes = 10, DiscriminatorWidth = 500;
    private const double LearningRate = 0.01;

    private readonly nn.Module<Tensor, Tensor> features, head, all;
    private readonly nn.Module<Tensor, Tensor>? discriminator;
    private readonly Tensor source, classes, target, domains;
    private readonly int batch, steps;

    /// <param name="adversarial">DANN; else DAN.</param>
    /// <param name="batch">Rows of a batch of each domain.</param>
    /// <param name="steps">Steps of a pass.</param>
    public AdaptationEpoch(bool adversarial, int batch, int steps)
    {
        (this.batch, this.steps) = (batch, steps);
        features = nn.Sequential(
            nn.Conv2d(1, 20, 5), nn.MaxPool2d(2), nn.ReLU(), nn.Conv2d(20, 50, 5), nn.Dropout2d(0.5), nn.MaxPool2d(2), nn.ReLU(), nn.Flatten(),
            nn.Linear(50 * 4 * 4, Bottleneck), nn.BatchNorm1d(Bottleneck), nn.Dropout(0.5));
        head = nn.Linear(Bottleneck, Classes);
        discriminator = adversarial ? nn.Sequential(nn.Linear(Bottleneck, DiscriminatorWidth), nn.ReLU(), nn.Linear(DiscriminatorWidth, DiscriminatorWidth), nn.ReLU(), nn.Linear(DiscriminatorWidth, 1)) : null;
        all = discriminator is null ? nn.Sequential(features, head) : nn.Sequential(features, head, discriminator);
        int rows = batch * steps;
        source = rand(rows, 1, Side, Side);
        classes = randint(0, Classes, new long[] { rows }, dtype: ScalarType.Int64);
        target = rand(rows, 1, Side, Side);
        domains = cat([ones(batch, 1), zeros(batch, 1)]);
    }

    /// <summary>The pass, rows in a new order.</summary>
    public void Run()
    {
        using var pass = NewDisposeScope();
        all.train();
        var optimizer = optim.SGD(all.parameters(), LearningRate, momentum: 0.9, weight_decay: 1e-3, nesterov: true);
        Tensor sourceOrder = randperm(source.shape[0]), targetOrder = randperm(target.shape[0]), losses = zeros(steps);
        for (int i = 0; i < steps; i++)
        {
            using var scope = NewDisposeScope();
            double progress = (double)i / steps, weight = 2 / (1 + Math.Exp(-10 * progress)) - 1;
            foreach (var group in optimizer.ParamGroups)
                group.LearningRate = LearningRate * Math.Pow(1 + 10 * progress, -0.75);
            Tensor sourceRows = sourceOrder.narrow(0, i * batch, batch), targetRows = targetOrder.narrow(0, i * batch, batch);
            optimizer.zero_grad();
            var z = features.call(cat([source.index_select(0, sourceRows), target.index_select(0, targetRows)]) * 2 - 1);
            var loss = F.cross_entropy(head.call(z.narrow(0, 0, batch)), classes.index_select(0, sourceRows), label_smoothing: 0.1)
                + (discriminator is null ? Discrepancy(z) * weight : DomainLoss(z, weight));
            loss.backward();
            optimizer.step();
            losses[i] = loss.detach();
        }
        losses.sum().item<float>(); // a training reports its loss
        all.eval();
    }

    /// <summary>Biased MK-MMD of the two halves of the rows: five Gaussians around the mean squared distance, which no gradient flows through.</summary>
    private Tensor Discrepancy(Tensor z)
    {
        long n = batch;
        var squares = (z * z).sum(1, keepdim: true);
        var distances = (squares + squares.t() - 2 * z.mm(z.t())).clamp_min(0);
        var mean = distances.detach().sum() / (2 * n * (2 * n - 1));
        Tensor? kernel = null;
        foreach (double factor in (double[])[0.25, 0.5, 1, 2, 4])
        {
            var gaussian = (-distances / (mean * factor)).exp();
            kernel = kernel is null ? gaussian : kernel + gaussian;
        }
        Tensor upper = kernel!.narrow(0, 0, n), lower = kernel.narrow(0, n, n);
        return (upper.narrow(1, 0, n).mean() + lower.narrow(1, n, n).mean() - 2 * upper.narrow(1, n, n).mean()) / 5;
    }

    /// <summary>The discriminator's two entropies; their gradient comes to the features reversed and weighed.</summary>
    private Tensor DomainLoss(Tensor z, double weight)
    {
        var reversed = (z * (1 + weight)).detach() - z * weight;
        return F.binary_cross_entropy_with_logits(discriminator!.call(reversed), domains) * 2;
    }
}
