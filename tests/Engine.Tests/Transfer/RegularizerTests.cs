using TransferEngine.Data;
using TransferEngine.Modules;
using TransferEngine.Training;
using TransferEngine.Transfer;
using Xunit;

namespace TransferEngine.Tests.Transfer;

/// <summary>Regularisers against values of make_golden.py, and their gradients against differences.</summary>
public sealed class RegularizerTests
{
    private static readonly Tensor None = Tensor.Scalar(0.0);

    [Theory]
    [InlineData(4, 6, 1, 0.06139084728761902, 0.026129379203243402, 0.1407819985657043, 0.06486368711784743)]
    [InlineData(7, 3, 2, 3.5225674997626935, 1.6140000403320711, -0.9207100558127959, 0.009243528012714108)]
    public void Spectral_Shrinkage_Equals_Torchs_Singular_Values(int n, int d, int k, double loss, double first, double middle, double last)
    {
        var x = Waves.Leaf(1, n, d);
        var head = new Identity();
        using var regularizer = new BatchSpectralShrinkage(head, k, weight: 2);
        head.Forward(x);
        var term = regularizer.Loss(new(None, None, None));
        Waves.Near(2 * loss, term.Item());
        var g = Tensor.Gradients(term, [x])[0].ToArray<double>();
        Waves.Near(2 * first, g[0]);
        Waves.Near(2 * middle, g[d + 2]);
        Waves.Near(2 * last, g[^1]);
        Assert.Throws<InvalidOperationException>(() => regularizer.Loss(new(None, None, None))); // no forward pass since
    }

    [Fact]
    public void Spectral_Shrinkage_Of_Equal_Rows_Is_Nothing()
    {
        var x = Tensor.Ones([3, 5]);
        x.RequiresGrad = true;
        var loss = BatchSpectralShrinkage.SmallestSquares(x);
        Assert.InRange(loss.Item(), 0, 1e-10);
        Assert.All(Tensor.Gradients(loss, [x])[0].ToArray<float>(), value => Assert.InRange(Math.Abs(value), 0, 1e-5));
        Assert.Throws<ShapeException>(() => BatchSpectralShrinkage.SmallestSquares(Tensor.Ones([3])));
    }

    [Fact]
    public void Distillation_Equals_Torch()
    {
        var logits = Waves.Leaf(1, 4, 5);
        var term = new Distillation(Waves.Answer(Waves.Of(2, 4, 5)), temperature: 3, weight: 0.7).Loss(new(None, logits, None));
        Waves.Near(0.12899149955612743, term.Item());
        var g = Tensor.Gradients(term, [logits])[0].ToArray<double>();
        Waves.Near(-0.023824553251503632, g[0]);
        Waves.Near(0.0023777471295410384, g[17]);
        Assert.Throws<ShapeException>(() => new Distillation(Waves.Answer(Waves.Of(2, 4, 4))).Loss(new(None, logits, None)));
    }

    [Fact]
    public void Learning_Without_Forgetting_Equals_The_Papers_Form()
    {
        var head = new Identity();
        var logits = Waves.Leaf(1, 4, 5);
        using var regularizer = new LearningWithoutForgetting(head, new Identity(), Waves.Answer(Waves.Of(2, 4, 5)));
        head.Forward(logits);
        var term = regularizer.Loss(new(None, None, None));
        Waves.Near(1.5979545638286634, term.Item());
        var g = Tensor.Gradients(term, [logits])[0].ToArray<double>();
        Waves.Near(-0.009173303665648832, g[0]);
        Waves.Near(0.0007109129409541138, g[17]);
    }

    [Fact]
    public void Co_Tuning_Learns_The_Relationship_And_Follows_It()
    {
        var labels = Waves.Classes(10, 3);
        var relationship = CoTuning.Relationship(Waves.Of(1, 10, 4) * 4, labels, 3, temperature: 2);
        Waves.Near(0.12030223646443199, relationship.ToArray<double>()[0]);
        Waves.Near(0.023155957703468604, relationship.ToArray<double>()[11]);
        var head = new Identity();
        var logits = Waves.Leaf(2, 10, 4);
        using var regularizer = new CoTuning(head, new Identity(), relationship);
        head.Forward(logits);
        Waves.Near(3.4019857051121996, regularizer.Loss(new(None, None, labels)).Item());
        Waves.CheckGradient(() =>
        {
            head.Forward(logits);
            return regularizer.Loss(new(None, None, labels));
        }, [logits]);
        Assert.Contains("class 3", Assert.Throws<ShapeException>(() => CoTuning.Relationship(Waves.Of(1, 10, 4), labels, 4)).Message);
    }

    [Fact]
    public void The_Reverse_Relationship_Follows_Bayes()
    {
        // The source network knows what it sees; source class 0 is target class 0 or, for a third of its rows, 1; source class 1 is always 1; class 2 always 2.
        int[] source = [0, 0, 0, 1, 1, 2, 2, 2], target = [0, 0, 1, 1, 1, 2, 2, 2];
        var logits = Tensor.From(source).OneHot(3, ElementType.Float64) * 40;
        double[] got = CoTuning.ReverseRelationship(logits, Tensor.From(target), 3, weightDecay: 1e-7).ToArray<double>();
        double[] wanted = [1, 0, 0, 1.0 / 3, 2.0 / 3, 0, 0, 0, 1];
        for (int i = 0; i < wanted.Length; i++)
            Waves.Near(wanted[i], got[i], 0.01);
        for (int row = 0; row < 3; row++)
            Waves.Near(1, got[(row * 3)..(row * 3 + 3)].Sum());
        Assert.Throws<ShapeException>(() => CoTuning.ReverseRelationship(logits, Tensor.From(target), 4));
    }

    [Fact]
    public void L2_Starting_Point_Pulls_Back_To_The_Start()
    {
        var model = Waves.Network(1);
        using var regularizer = new L2StartingPoint(model, model.GetModule("head"), alpha: 0.3, beta: 0.2);
        double head = model.GetModule("head").Parameters().Sum(p => p.ToArray<double>().Sum(v => v * v));
        Waves.Near(0.1 * head, Term().Item());
        using (new NoGrad())
        {
            foreach (var parameter in model.Parameters())
                parameter.AddInPlace(Tensor.Scalar(0.5));
        }
        int moved = model.Parameters().Sum(p => p.Elements) - model.GetModule("head").Parameters().Sum(p => p.Elements);
        head = model.GetModule("head").Parameters().Sum(p => p.ToArray<double>().Sum(v => v * v));
        Waves.Near(0.15 * moved * 0.25 + 0.1 * head, Term().Item());
        Waves.CheckGradient(Term, [.. model.Parameters()]);
        using (FreezePolicy.All().Apply(model))
            Assert.Equal(0, Term().Item());

        Tensor Term() => regularizer.Loss(new(None, None, None));
    }

    [Fact]
    public void Delta_Weighs_The_Distance_Of_Feature_Maps()
    {
        var (model, source) = (Waves.Network(1), Waves.Network(2));
        var images = Waves.Images();
        var features = new FeatureExtractor(source, "conv1", "fc");
        using (var same = new Delta(model, new FeatureExtractor(Waves.Network(1), "conv1", "fc")))
        {
            model.Eval(); // as the source is
            model.Forward(images);
            Assert.Equal(0, same.Loss(new(images, None, None)).Item());
            model.Train();
        }
        Tensor[] attention = [Tensor.From([0.1, 0.2, 0.3, 0.4]), Tensor.From([0.5, 0, 0.25, 0.25, 0])];
        using var delta = new Delta(model, features, attention, model.GetModule("head"), alpha: 2, beta: 0.5);

        double wanted = 0;
        var maps = new FeatureExtractor(model, "conv1", "fc").ExtractAll(images).Zip(new FeatureExtractor(source.Eval(), "conv1", "fc").ExtractAll(images)).Zip(attention);
        source.Train();
        foreach (var ((ours, theirs), weights) in maps)
        {
            double[] a = ours.ToArray<double>(), b = theirs.ToArray<double>(), w = weights.ToArray<double>();
            int size = a.Length / 6 / w.Length;
            for (int i = 0; i < a.Length; i++)
                wanted += 2 * w[i / size % w.Length] * (a[i] - b[i]) * (a[i] - b[i]) / 6;
        }
        wanted += 0.5 * model.GetModule("head").Parameters().Sum(p => p.ToArray<double>().Sum(v => v * v));
        Waves.Near(wanted, Term().Item());
        Waves.CheckGradient(Term, [.. model.Parameters()], 1e-6);
        Assert.True(source.IsTraining);
        Assert.Throws<ArgumentException>(() => new Delta(source, features));

        Tensor Term()
        {
            model.Forward(images);
            return delta.Loss(new(images, None, None));
        }
    }

    [Fact]
    public void Attention_Goes_To_The_Channels_That_The_Loss_Needs()
    {
        // Two features; the head answers by the second alone, and the third channel is dead.
        var model = new Sequential(new Identity(), new Linear(Tensor.From([0.0, 3, 0, 0, -3, 0], [2, 3]), null));
        var x = Tensor.From([5.0, 1, 0, 4, -1, 0], [2, 3]);
        var attention = Delta.ChannelAttention(new FeatureExtractor(model, "0"), (output, target) => output.CrossEntropy(target), [new(x, Tensor.From([0, 1]))])[0].ToArray<double>();
        double growth = Math.Log(2) - Math.Log(1 + Math.Exp(-6));
        double other = 1 / (2 + Math.Exp(growth));
        Waves.Near(other, attention[0]);
        Waves.Near(other * Math.Exp(growth), attention[1]);
        Waves.Near(other, attention[2]);
    }

    [Theory]
    [InlineData(1, 0.9552903359768753, -0.9467022842622254)]
    [InlineData(0, 1.3609023900870045, -1.2792417430142233)]
    public void StochNorm_Normalises_By_Batch_Or_By_Running_Statistics(double probability, double first, double last)
    {
        var norm = Norm();
        var model = new Sequential(norm);
        using (StochNorm.Apply(model, probability))
        {
            var y = model.Forward(Waves.Of(1, 6, 3, 2, 2)).ToArray<double>();
            Waves.Near(first, y[0]);
            Waves.Near(last, y[^1]);
        }
        Waves.Near(0.9552903359768753, model.Forward(Waves.Of(1, 6, 3, 2, 2)).ToArray<double>()[0]);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    public void StochNorm_Has_The_Gradient_Of_What_It_Chose(double probability)
    {
        var norm = new BatchNorm2d(3, momentum: 0, type: ElementType.Float64);
        using var stoch = StochNorm.Apply(norm, probability);
        var x = Waves.Leaf(1, 6, 3, 2, 2);
        var weights = Waves.Of(9, 6, 3, 2, 2);
        Waves.CheckGradient(() => (norm.Forward(x) * weights).Sum(), [x, norm.Weight!, norm.Bias!]);
    }

    [Fact]
    public void StochNorm_Draws_For_Each_Channel_And_Leaves_Evaluation_Alone()
    {
        var x = Waves.Of(1, 6, 3, 2, 2);
        var norm = Norm();
        using var stoch = StochNorm.Apply(norm, 0.5, new Generator(4));
        var seen = new HashSet<string>();
        for (int i = 0; i < 40; i++)
        {
            double[] batch = x.BatchNorm(null, null, norm.Weight, norm.Bias, training: true).ToArray<double>(), running = x.BatchNorm(norm.RunningMean, norm.RunningVar, norm.Weight, norm.Bias).ToArray<double>();
            double[] y = norm.Forward(x).ToArray<double>();
            string pattern = "";
            for (int channel = 0; channel < 3; channel++)
            {
                bool byRunning = Math.Abs(y[channel * 4] - running[channel * 4]) < 1e-12;
                for (int k = 0; k < y.Length; k++)
                {
                    if (k / 4 % 3 == channel)
                        Waves.Near(byRunning ? running[k] : batch[k], y[k]);
                }
                pattern += byRunning ? 'r' : 'b';
            }
            seen.Add(pattern);
        }
        Assert.Equal(8, seen.Count);
        norm.Eval();
        Assert.Equal(x.BatchNorm(norm.RunningMean, norm.RunningVar, norm.Weight, norm.Bias).ToArray<double>(), norm.Forward(x).ToArray<double>());
        Assert.Throws<ArgumentException>(() => StochNorm.Apply(new Identity()));
    }

    [Fact]
    public void A_Trainer_Adds_Regularisers_In_Training_Only()
    {
        double free = Moved(held: false), tied = Moved(held: true);
        Assert.InRange(tied, 0, free / 10);

        static double Moved(bool held)
        {
            var model = Waves.Network(1);
            double[] before = Weight(model);
            using var start = new L2StartingPoint(model, alpha: 5e4);
            var trainer = new Trainer(model, new Sgd(model.Parameters(), 1e-5), (output, target) => output.CrossEntropy(target) * 1000) { Settings = new() { Epochs = 5 } };
            double loss = trainer.Evaluate([Rows()])["loss"];
            if (held)
                trainer.Regularizers.Add(start);
            Assert.Equal(loss, trainer.Evaluate([Rows()])["loss"]);
            trainer.Fit(Enumerable.Range(0, 4).Select(_ => Rows()));
            return Weight(model).Zip(before, (a, b) => Math.Abs(a - b)).Max();
        }

        static double[] Weight(Module model) => model.GetModule("fc").Parameters().First().ToArray<double>();
    }

    [Fact]
    public void Memory_Is_Flat_With_All_Of_Them()
    {
        var device = Device.Open(DeviceKind.Cpu);
        Module Network(ulong seed, int classes = 3) => Waves.Network(seed, classes).To(device);
        var (model, head) = (Network(1), new Linear(5, 4, device: device, type: ElementType.Float64));
        var images = Waves.Images().To(device);
        var labels = Waves.Classes(6, 3).To(device);
        using var norm = StochNorm.Apply(model);
        using var sp = new L2StartingPoint(model);
        using var bss = new BatchSpectralShrinkage(model.GetModule("head"));
        using var delta = new Delta(model, new FeatureExtractor(Network(2), "act1", "fc"));
        using var old = new LearningWithoutForgetting(model.GetModule("head"), head, Network(3, 4));
        using var tuning = new CoTuning(model.GetModule("head"), new Linear(5, 4, device: device, type: ElementType.Float64), CoTuning.Relationship(Waves.Of(2, 6, 4).To(device), labels, 3));
        var trainer = new Trainer(model, new Sgd(model.Parameters(), 1e-3), (output, target) => output.CrossEntropy(target)) { Settings = new() { Epochs = 3 } };
        foreach (IRegularizer regularizer in new IRegularizer[] { sp, bss, delta, old, tuning, new Distillation(Network(4)) })
            trainer.Regularizers.Add(regularizer);
        var live = new List<long>();
        Assert.Equal(["l2-sp", "bss", "delta", "lwf", "co-tuning", "distillation"], trainer.Regularizers.Select(regularizer => regularizer.Name));
        GC.Collect(); // what the lines above made and dropped is the finaliser's; what steps make is theirs to free
        GC.WaitForPendingFinalizers();
        trainer.Fit(Batches(5), Batches(1), new Live(live, device));
        Assert.True(live.Count >= 3);
        Assert.All(live, bytes => Assert.Equal(live[0], bytes));

        IEnumerable<Batch> Batches(int count) => Enumerable.Range(0, count).Select(_ => new Batch(images.Clone(), labels.Clone()));
    }

    private sealed class Live(List<long> seen, Device device) : IProgress<TrainingProgress>
    {
        public void Report(TrainingProgress value) => seen.Add(device.LiveBytes);
    }

    private static Batch Rows() => new(Waves.Images(), Waves.Classes(6, 3));

    private static BatchNorm2d Norm()
    {
        var norm = new BatchNorm2d(3, type: ElementType.Float64);
        norm.LoadStateDict(new Dictionary<string, Tensor>
        {
            ["weight"] = Waves.Of(2, 3),
            ["bias"] = Waves.Of(3, 3),
            ["running_mean"] = Waves.Of(4, 3),
            ["running_var"] = Waves.Of(5, 3).Square() + 0.5,
        });
        return norm;
    }
}
