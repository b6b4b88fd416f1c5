using TransferEngine.Adaptation;
using TransferEngine.Modules;
using static TransferEngine.Engine.Tests.Adaptation.PlainNetworks;
using static TransferEngine.Engine.Tests.Adaptation.Samples;

namespace TransferEngine.Engine.Tests.Adaptation;

/// <summary>
/// Each adversarial loss against its formula in plain doubles; the gradient of its adversary against central differences, and that of the features against the same
/// with the reversal's sign and weight.
/// </summary>
public class AdversarialTests
{
    private const double Weight = 0.5;
    private static readonly Func<double, double> Constant = WeightSchedule.Constant(1);
    private static readonly int[] Classes = [0, 1, 2, 3, 0, 1];
    private readonly double[][] s = Rows(6, 3, 1, 0), t = Rows(4, 3, 2, 0.4), sourceLogits = Rows(6, 4, 3, 0), targetLogits = Rows(4, 4, 4, 0);

    private static AdaptationStep Step(double[][] source, double[][] target, double[][] ofSource, double[][] ofTarget) =>
        Given(From(source), From(target), From(ofSource), From(ofTarget), Classes);

    [Fact]
    public void Dann_equals_its_formula_and_its_named_forms()
    {
        var d = Net(3, 1, 5);
        double source = -s.Average(row => LogSigmoid(Apply(d, row)[0])), target = -t.Average(row => LogSigmoid(-Apply(d, row)[0]));
        AssertClose(source + target, new DomainAdversary(d).Loss(Step(s, t, s, t))!.Item());
        AssertClose(0.5 * (source + target), DomainAdversary.Tllib(d, 100).Loss(Step(s, t, s, t))!.Item());
        AssertClose(0.5 * (source + target), DomainAdversary.DeepDa(d).Loss(Step(s, t, s, t))!.Item());
        AssertClose(source + target, DomainAdversary.Skada(d).Loss(Step(s, t, s, t))!.Item());
    }

    [Fact]
    public void Dann_teaches_the_discriminator_and_turns_the_features_gradient_around()
    {
        CheckGradient((x, y) => new DomainAdversary(Net(3, 1, 5, x.ElementType), Weight, Constant).Loss(Given(x, y, x, y, Classes, Weight))!, m: 4);
        var d = Net(3, 1, 5);
        CheckParameter(d.Weight, () => new DomainAdversary(d).Loss(Step(s, t, s, t))!);
    }

    [Fact]
    public void A_reversal_follows_its_schedule()
    {
        var d = Net(3, 1, 5);
        double[] Gradient(DomainAdversary method, double progress)
        {
            var x = From(s);
            x.RequiresGrad = true;
            return Tensor.Gradients(method.Loss(new(x, x, Tensor.From(Classes), From(t), From(t), progress))!, [x])[0].ToArray<double>();
        }
        double[] whole = Gradient(DomainAdversary.Skada(d), 0.5), ganin = Gradient(new(d), 0.37), tllib = Gradient(DomainAdversary.Tllib(d, 500), 0.5), deepDa = Gradient(DomainAdversary.DeepDa(d), 0.8);
        for (int i = 0; i < whole.Length; i++)
        {
            AssertClose(whole[i] * (2 / (1 + Math.Exp(-3.7)) - 1), ganin[i]);
            AssertClose(whole[i] / 2 * (2 / (1 + Math.Exp(-0.25)) - 1), tllib[i]);
            AssertClose(whole[i] / 2 * (2 / (1 + Math.Exp(-0.8)) - 1), deepDa[i]);
        }
    }

    private static double Entropy(double[] p, double added = 0) => -p.Sum(x => x * Math.Log(x + added));

    private static double[] Join(double[] features, double[] predictions) => [.. predictions.SelectMany(p => features.Select(f => p * f))];

    /// <summary>A domain's part of CDAN's loss, the logits that join features apart from those that weights come from; the authors' weights have their mean of before at 1.</summary>
    private static double Cdan(Linear d, double[][] features, double[][] joined, double[][] weighing, double sign, bool entropy, bool isOfAuthors)
    {
        double[] Weights(double[][] logits) => [.. logits.Select(row => entropy ? 1 + Math.Exp(-Entropy(Softmax(row), isOfAuthors ? 1e-5 : 0)) : 1)];
        double unit = isOfAuthors ? 2 * Weights(joined).Average() : 1;
        double[] weights = Weights(weighing);
        return -features.Select((f, i) => weights[i] / unit * LogSigmoid(sign * Apply(d, Join(f, Softmax(joined[i])))[0])).Average();
    }

    private static ConditionalDomainAdversary Cdan(Module d, bool entropy, bool isOfAuthors) =>
        isOfAuthors ? ConditionalDomainAdversary.Authors(d, entropy, Weight, Constant) : new(d, entropy, Weight, Constant);

    [Theory, InlineData(false, false), InlineData(true, false), InlineData(false, true), InlineData(true, true)]
    public void Cdan_equals_its_formula_and_the_authors(bool entropy, bool isOfAuthors)
    {
        var d = Net(12, 1, 5);
        double want = Cdan(d, s, sourceLogits, sourceLogits, 1, entropy, isOfAuthors) + Cdan(d, t, targetLogits, targetLogits, -1, entropy, isOfAuthors);
        AssertClose(want, Cdan(d, entropy, isOfAuthors).Loss(Step(s, t, sourceLogits, targetLogits))!.Item());
    }

    [Theory, InlineData(false, false), InlineData(true, false), InlineData(false, true), InlineData(true, true)]
    public void Cdan_teaches_predictions_through_weights_alone_turned_around(bool entropy, bool isOfAuthors)
    {
        var d = Net(12, 1, 5);
        Tensor ofSource = From(sourceLogits), ofTarget = From(targetLogits);
        ofSource.RequiresGrad = ofTarget.RequiresGrad = true;
        var gradients = Tensor.Gradients(Cdan(d, entropy, isOfAuthors).Loss(Given(From(s), From(t), ofSource, ofTarget, Classes))!, [ofSource, ofTarget]);
        Check(s, sourceLogits, 1, gradients[0].ToArray<double>());
        Check(t, targetLogits, -1, gradients[1].ToArray<double>());

        void Check(double[][] features, double[][] logits, double sign, double[] got)
        {
            const double Change = 1e-6;
            for (int i = 0; i < got.Length; i++)
            {
                double With(double change)
                {
                    double[][] weighing = [.. logits.Select(row => row.ToArray())];
                    weighing[i / 4][i % 4] += change;
                    return Cdan(d, features, logits, weighing, sign, entropy, isOfAuthors);
                }
                double slope = (With(Change) - With(-Change)) / (2 * Change);
                Assert.True(!entropy || Math.Abs(slope) > 1e-6, "a weight that predictions do not move shows nothing");
                Assert.Equal(-Weight * slope, got[i], 1e-9);
            }
        }
    }

    [Theory, InlineData(false), InlineData(true)]
    public void Tllibs_cdan_is_a_mean_over_both_domains_with_weights_of_mean_one(bool entropy)
    {
        var d = Net(12, 1, 5);
        var rows = s.Zip(sourceLogits, (f, l) => (Features: f, P: Softmax(l), Sign: 1)).Concat(t.Zip(targetLogits, (f, l) => (Features: f, P: Softmax(l), Sign: -1))).ToArray();
        double[] weights = [.. rows.Select(row => entropy ? 1 + Math.Exp(-Entropy(row.P, 1e-5)) : 1)];
        double want = -rows.Select((row, i) => weights[i] / weights.Sum() * rows.Length * LogSigmoid(row.Sign * Apply(d, Join(row.Features, row.P))[0])).Average();
        AssertClose(want, ConditionalDomainAdversary.Tllib(d, 100, entropy).Loss(Step(s, t, sourceLogits, targetLogits))!.Item(), 1e-10);
    }

    [Fact]
    public void Skadas_cdan_joins_raw_logits_and_has_a_gradient_through_them()
    {
        var d = Net(12, 1, 5);
        double Side(double[][] features, double[][] logits, double sign) => -features.Zip(logits, (f, l) => LogSigmoid(sign * Apply(d, Join(f, l))[0])).Average();
        AssertClose(Side(s, sourceLogits, 1) + Side(t, targetLogits, -1), ConditionalDomainAdversary.Skada(d).Loss(Step(s, t, sourceLogits, targetLogits))!.Item());
        CheckGradient((x, y) =>
        {
            var head = Net(3, 4, 7, x.ElementType);
            var step = Given(x, y, head.Forward(x.ReverseGradient(1)), head.Forward(y.ReverseGradient(1)), Classes);
            return ConditionalDomainAdversary.Skada(Net(12, 1, 5, x.ElementType)).Loss(step)!;
        }, m: 4);
    }

    [Theory, InlineData(false), InlineData(true)]
    public void Cdan_teaches_features_and_discriminator(bool isOfAuthors)
    {
        CheckGradient((x, y) => Cdan(Net(12, 1, 5, x.ElementType), entropy: true, isOfAuthors)
            .Loss(Given(x, y, From(sourceLogits).To(x.ElementType), From(targetLogits).To(x.ElementType), Classes, Weight))!, m: 4);
        var d = Net(12, 1, 5);
        CheckParameter(d.Weight, () => Cdan(d, entropy: true, isOfAuthors).Loss(Step(s, t, sourceLogits, targetLogits))!);
    }

    [Fact]
    public void Tllibs_cdan_teaches_predictions_nothing()
    {
        var logits = From(sourceLogits);
        logits.RequiresGrad = true;
        var loss = ConditionalDomainAdversary.Tllib(Net(12, 1, 5), 100, entropy: true).Loss(Given(From(s), From(t), logits, From(targetLogits), Classes, 0.5))!;
        Assert.All(Tensor.Gradients(loss, [logits])[0].ToArray<double>(), g => Assert.Equal(0, g));
    }

    [Fact]
    public void Random_maps_are_products_of_random_sums_and_keep_inner_products_on_average()
    {
        var map = new RandomizedMultilinearMap(3, 4, 5, new(1), type: ElementType.Float64);
        double[] f = map.FeatureMatrix.ToArray<double>(), g = map.PredictionMatrix.ToArray<double>(), got = map.Forward(From(s), From(sourceLogits)).ToArray<double>();
        for (int row = 0; row < 6; row++)
        {
            for (int o = 0; o < 5; o++)
                AssertClose(Enumerable.Range(0, 3).Sum(i => s[row][i] * f[i * 5 + o]) * Enumerable.Range(0, 4).Sum(c => sourceLogits[row][c] * g[c * 5 + o]) / Math.Sqrt(5), got[row * 5 + o]);
        }
        // E <T(a), T(b)> = <f_a, f_b> <p_a, p_b>, the inner product of the full map.
        var wide = new RandomizedMultilinearMap(3, 4, 200_000, new(2), type: ElementType.Float64).Forward(From(s), From(sourceLogits));
        double Dot(double[] a, double[] b) => a.Zip(b, (x, y) => x * y).Sum();
        AssertClose(Dot(s[0], s[1]) * Dot(sourceLogits[0], sourceLogits[1]), (wide.Narrow(0, 0, 1) * wide.Narrow(0, 1, 1)).Sum().Item(), 0.02);
        Assert.IsType<MultilinearMap>(JointMap.Choose(256, 16));
        var chosen = JointMap.Choose(256, 17);
        Assert.Equal(1024, chosen.Outputs(256, 17));
        Assert.Equal(4096, new MultilinearMap().Outputs(256, 16));
    }

    [Fact]
    public void Mdd_equals_its_formula_and_tllibs()
    {
        var adversary = Net(3, 4, 5);
        double source = -s.Zip(sourceLogits, (f, l) => Math.Log(Softmax(Apply(adversary, f))[ArgMax(l)])).Average();
        double Target(Func<double, double> log) => t.Zip(targetLogits, (f, l) => log(1 - Softmax(Apply(adversary, f))[ArgMax(l)])).Average();
        AssertClose(3 * source - Target(Math.Log), new MarginDisparityDiscrepancy(adversary, margin: 3).Loss(Step(s, t, sourceLogits, targetLogits))!.Item());
        AssertClose(4 * source - Target(x => Math.Log(Math.Min(x + 1e-6, 1))), MarginDisparityDiscrepancy.Tllib(adversary, 100).Loss(Step(s, t, sourceLogits, targetLogits))!.Item());
    }

    [Fact]
    public void Mdd_teaches_the_adversary_turns_the_features_gradient_around_and_survives_certainty()
    {
        CheckGradient((x, y) => new MarginDisparityDiscrepancy(Net(3, 4, 5, x.ElementType), weight: Weight, schedule: Constant)
            .Loss(Given(x, y, From(sourceLogits).To(x.ElementType), From(targetLogits).To(x.ElementType), Classes, Weight))!, m: 4);
        var adversary = Net(3, 4, 5);
        CheckParameter(adversary.Weight, () => new MarginDisparityDiscrepancy(adversary).Loss(Step(s, t, sourceLogits, targetLogits))!);
        // Where one class has all the probability in float32, the logarithm of the others keeps its digits.
        var sure = new MarginDisparityDiscrepancy(new Function(x => x), weight: 1, schedule: Constant);
        Tensor certain = Tensor.From([40f, 0f, 0f], [1, 3]), even = Tensor.Zeros([1, 3]);
        var step = new AdaptationStep(even, even, Tensor.From([0]), certain, certain, 0.5);
        AssertClose(4 * Math.Log(3) + 40 - Math.Log(2), sure.Loss(step)!.Item(), 1e-6);
    }

    [Fact]
    public void Daan_equals_its_formula_and_shifts_its_weight_by_the_distances()
    {
        Linear global = Net(3, 1, 5);
        Linear[] local = [.. Enumerable.Range(0, 4).Select(c => Net(3, 1, 10 + c))];
        double Mean(Linear d, Func<double[], double[], double[]> input) =>
            (s.Zip(sourceLogits, (f, l) => -LogSigmoid(Apply(d, input(f, Softmax(l)))[0])).Sum() + t.Zip(targetLogits, (f, l) => -LogSigmoid(-Apply(d, input(f, Softmax(l)))[0])).Sum()) / 10;
        double whole = Mean(global, (f, _) => f);
        double[] parts = [.. local.Select((d, c) => Mean(d, (f, p) => [.. f.Select(x => x * p[c])]))];
        var daan = new DynamicAdversary(global, [.. local]);
        var step = Of(new Function(x => x), new Function(x => x), s, Classes, t);
        AssertClose(0.5 * whole + 0.5 * parts.Sum(), daan.Loss(Step(s, t, sourceLogits, targetLogits))!.Item());
        daan.AfterStep(step);
        double d = 2 * (1 - 2 * whole), l = 2 * (1 - 2 * parts.Average()), share = Math.Clamp(l / (d + l), 0, 1);
        AssertClose(share, daan.LocalShare, 1e-10);
        AssertClose((1 - share) * whole + share * parts.Sum(), daan.Loss(Step(s, t, sourceLogits, targetLogits))!.Item(), 1e-10);
        daan.Begin(step.Run);
        Assert.Equal(0.5, daan.LocalShare);
        // The domains have different labels for the classes' discriminators too: each of them is taught to tell them apart.
        foreach (var discriminator in local)
            CheckParameter(discriminator.Weight, () => new DynamicAdversary(global, [.. local]).Loss(Step(s, t, sourceLogits, targetLogits))!);
        CheckGradient((x, y) => new DynamicAdversary(Net(3, 1, 5, x.ElementType), [.. Enumerable.Range(0, 4).Select(c => Net(3, 1, 10 + c, x.ElementType))], Weight, Constant)
            .Loss(Given(x, y, From(sourceLogits).To(x.ElementType), From(targetLogits).To(x.ElementType), Classes, Weight))!, m: 4);
    }

    /// <summary>DAAN's loss at ω = 1/2.</summary>
    private double Daan(Linear global, Linear[] local, double[][] ofSource, double[][] ofTarget, bool isOfAuthors)
    {
        double Entropy(Linear d, int c)
        {
            double[] Input(double[] f, double[] l) => c < 0 ? f : [.. f.Select(x => x * Softmax(l)[c])];
            double[] source = [.. s.Zip(ofSource, (f, l) => -LogSigmoid(Apply(d, Input(f, l))[0]))], target = [.. t.Zip(ofTarget, (f, l) => -LogSigmoid(-Apply(d, Input(f, l))[0]))];
            return isOfAuthors ? (source.Average() + target.Average()) * (c < 0 ? 0.05 : 0.01) : source.Concat(target).Average();
        }
        return 0.5 * Entropy(global, -1) + 0.5 * local.Select(Entropy).Sum();
    }

    [Theory, InlineData(false), InlineData(true)]
    public void Daan_teaches_predictions_turned_around_but_not_as_its_authors(bool isOfAuthors)
    {
        const double Change = 1e-6;
        Linear global = Net(3, 1, 5);
        Linear[] local = [.. Enumerable.Range(0, 4).Select(c => Net(3, 1, 10 + c))];
        var daan = isOfAuthors ? DynamicAdversary.Authors(global, [.. local], Weight, Constant) : new(global, [.. local], Weight, Constant);
        Tensor ofSource = From(sourceLogits), ofTarget = From(targetLogits), x = From(s), y = From(t);
        ofSource.RequiresGrad = ofTarget.RequiresGrad = x.RequiresGrad = y.RequiresGrad = true;
        var loss = daan.Loss(Given(x, y, ofSource, ofTarget, Classes, Weight))!;
        AssertClose(Daan(global, local, sourceLogits, targetLogits, isOfAuthors), loss.Item());
        double[][] got = [.. Tensor.Gradients(loss, [ofSource, ofTarget, x, y]).Select(gradient => gradient.ToArray<double>())];
        Check(sourceLogits, got[0], isOfAuthors ? 1 : -Weight);
        Check(targetLogits, got[1], isOfAuthors ? 1 : -Weight);
        Check(s, got[2], 1); // the step turns theirs around again
        Check(t, got[3], 1);

        void Check(double[][] rows, double[] gradient, double sign)
        {
            for (int i = 0; i < gradient.Length; i++)
            {
                double With(double change)
                {
                    var (row, saved) = (rows[i / rows[0].Length], rows[i / rows[0].Length][i % rows[0].Length]);
                    row[i % row.Length] = saved + change;
                    double value = Daan(global, local, sourceLogits, targetLogits, isOfAuthors);
                    row[i % row.Length] = saved;
                    return value;
                }
                double slope = (With(Change) - With(-Change)) / (2 * Change);
                Assert.True(Math.Abs(slope) > 1e-8, "what does not move shows nothing");
                Assert.Equal(sign * slope, gradient[i], 1e-9);
            }
        }
    }

    [Fact]
    public void Every_network_of_a_method_can_have_a_rate_of_its_own()
    {
        MethodModule own = new(Net(3, 1, 1), LearningRateFactor: 10);
        AdaptationMethod[] methods =
        [
            new DomainAdversary(own), DomainAdversary.Tllib(own, 9), new ConditionalDomainAdversary(own), ConditionalDomainAdversary.Authors(own), new MarginDisparityDiscrepancy(own),
            new MaximumClassifierDiscrepancy(own), MaximumClassifierDiscrepancy.SlicedWasserstein(own), new DynamicAdversary(own, [own, own]), new Adda(own), new AlternatingDomainAdversary(own),
            new WassersteinCritic(own), new PartialAdversary(own), new ImportanceWeightedAdversary(own, own), new MultiSourceMomentMatching([own], [own, own]),
        ];
        Assert.All(methods, method => Assert.All(method.Modules, module => Assert.Same(own, module)));
        Assert.Equal([1, 1, 1, 1, 1, 1, 1, 3, 1, 1, 1, 1, 2, 3], methods.Select(method => method.Modules.Count));
    }

    [Fact]
    public void Wrong_arguments_are_named()
    {
        Assert.Contains("[N, 1]", Assert.Throws<ShapeException>(() => new DomainAdversary(Net(3, 2, 1)).Loss(Step(s, t, s, t))).Message);
        Assert.Throws<ArgumentOutOfRangeException>(() => new DomainAdversary(Net(3, 1, 1), -1));
        Assert.Throws<ArgumentOutOfRangeException>(() => new MarginDisparityDiscrepancy(Net(3, 1, 1), margin: 0));
        Assert.Throws<ArgumentException>(() => new DynamicAdversary(Net(3, 1, 1), []));
        Assert.Throws<ArgumentNullException>(() => new DomainAdversary((Linear)null!));
        Assert.Contains("Give one for each class", Assert.Throws<ShapeException>(() => new DynamicAdversary(Net(3, 1, 1), [Net(3, 1, 2)]).Loss(Step(s, t, sourceLogits, targetLogits))).Message);
        Assert.Contains("wanted [N, d] and [N, C]", Assert.Throws<ShapeException>(() => new MultilinearMap().Forward(From(s), From(t))).Message);
    }
}
